from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from prejudge.errors import InputError, PrejudgeError
from prejudge.report import to_html, write_report
from prejudge.report.html import LIMIT

HOSTILE = '<script>window.stolen = 1</script><img src=x onerror="window.stolen = 1">\'"&--></script>'


def payload_of(page: str):
    return json.loads(re.search(r'id="payload">(.*?)</script>', page, re.DOTALL)[1])


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_equal_content_gives_equal_bytes(make_report):
    data = make_report(60)
    assert to_html(data) == to_html(dataclasses.replace(data, scores=data.scores.copy()))


def test_page_holds_every_part_and_no_link_outwards(make_report):
    data = make_report(60)
    page = to_html(data)
    for part in ("correlation", "scatter", "agreement", "cost", "failures", "protocol", "provenance", "warnings"):
        assert f'id="{part}"' in page
    first = re.search(r'id="correlation".*?</table>', page, re.DOTALL)[0]
    assert first.count('<tr class="baseline">') == 2
    assert first.count('<tr class="ensemble">') == 2
    assert page.count('<table class="data sortable"') == len(data.metrics) * len(data.strata)
    assert "9be1c7d20a44" in page
    assert "output does not depend on the input" in page
    without_namespace = page.replace("http://www.w3.org/2000/svg", "").replace("http:", "HTTP", 0)
    assert not re.search(
        r"(?:https?:)?//[a-z0-9]+\.[a-z]", re.sub(r"<script.*?</script>", "", without_namespace, flags=re.S)
    )
    assert not re.search(r"<(?:link|img|script|iframe)[^>]+(?:src|href)=[\"'](?!data:)", page)


def test_static_table_is_sorted_and_complete(make_report):
    data = make_report(60)
    page = to_html(data)
    body = re.search(r'<table class="data sortable".*?<tbody>(.*?)</tbody>', page, re.DOTALL)[1]
    names = re.findall(r'<th scope="row" class="name"><span title="([^"]+)"', body)
    rows = data.rows(data.metrics[0], data.strata[0]).sort_values("spearman", ascending=False)
    assert names == list(rows["proxy"])


def test_hostile_texts_are_only_text(make_report):
    data = make_report(60)
    index = data.scores.index[:-1].append(pd.Index([HOSTILE]))
    data = dataclasses.replace(
        data,
        title=HOSTILE,
        space=HOSTILE,
        scores=data.scores.set_axis(index).rename(columns={"plain": HOSTILE}),
        accuracies=data.accuracies.set_axis(index).rename(columns={data.metrics[0]: HOSTILE}),
        params=None,
        connected=None,
        correlations=data.correlations.replace({"proxy": {"plain": HOSTILE}, "metric": {data.metrics[0]: HOSTILE}}),
        failures=pd.DataFrame({"architecture": [HOSTILE], "proxy": [HOSTILE], "reason": [HOSTILE]}),
        seconds={HOSTILE: 1.0},
        protocol={HOSTILE: HOSTILE},
        provenance={HOSTILE: HOSTILE},
        warnings=[HOSTILE],
        unit=HOSTILE,
    )
    page = to_html(data)
    assert "<script>window" not in page
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert payload_of(page)["chosen"][0] == HOSTILE


def test_no_number_breaks_the_json(make_report):
    data = make_report(60)
    table = data.correlations.copy()
    table.loc[0, ["spearman", "spearman_low", "spearman_high", "noise_ceiling"]] = [np.nan, np.inf, -np.inf, np.nan]
    scores = data.scores.copy()
    scores.iloc[0, 0], scores.iloc[1, 0], scores["empty"], scores["huge"] = np.inf, -np.inf, np.nan, 1e308
    scores.iloc[2, -1] = -1e308
    data = dataclasses.replace(data, correlations=table, scores=scores, seconds={"snip": np.nan, "zen": np.inf})
    page = to_html(data)
    text = re.search(r'id="payload">(.*?)</script>', page, re.DOTALL)[1]
    json.loads(text, parse_constant=refuse)
    assert "No times were recorded" in page


def test_an_empty_report_is_still_a_page(make_report):
    data = make_report(60)
    page = to_html(
        dataclasses.replace(
            data,
            correlations=data.correlations.head(0),
            scores=data.scores.head(0),
            accuracies=data.accuracies.head(0),
            params=None,
            connected=None,
            failures=None,
            seconds={},
            protocol={},
            provenance={},
            warnings=[],
        )
    )
    assert "There is no correlation to show" in page
    assert "No score failed" in page


def test_all_of_nas_bench_201_and_many_proxies_stay_below_the_limit(make_report):
    data = make_report(250)
    copies = pd.concat([data.scores.set_axis(data.scores.index + f" #{k}") for k in range(63)])
    wide = pd.concat([copies, copies.add_suffix("_b")], axis=1)
    accuracies = pd.concat([data.accuracies] * 63).set_axis(copies.index)
    page = to_html(dataclasses.replace(data, scores=wide, accuracies=accuracies, params=None, connected=None))
    assert len(page.encode()) <= LIMIT
    points = payload_of(page)["scatter"]["points"]
    assert points["total"] == 15_750
    assert 3_000 < points["shown"] < 15_625


def test_files_are_written_whole_or_not_at_all(make_report, tmp_path, monkeypatch):
    data = make_report(60)
    path = write_report(data, tmp_path / "report.html")
    before = path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(PrejudgeError, match=r"cannot write .*report\.html: the disk is full"):
        write_report(dataclasses.replace(data, title="other"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_format_follows_the_file_name_or_the_argument(make_report, tmp_path):
    data = make_report(60)
    assert write_report(data, tmp_path / "a.tex").read_text().startswith("%")
    assert write_report(data, tmp_path / "a.md").read_text().startswith("#")
    assert write_report(data, tmp_path / "a.csv").read_text().startswith("metric,")
    assert write_report(data, tmp_path / "a.txt", "csv").read_text().startswith("metric,")
    assert write_report(data, tmp_path / "a.html").read_text().startswith("<!doctype html>")
    with pytest.raises(InputError, match="cannot tell the format"):
        write_report(data, tmp_path / "a.pdf")
    with pytest.raises(InputError, match="unknown report format 'pdf'"):
        write_report(data, tmp_path / "a.html", "pdf")
    with pytest.raises(InputError, match="no folder"):
        write_report(data, tmp_path / "nowhere" / "a.html")
    with pytest.raises(InputError, match="is a folder"):
        write_report(data, tmp_path, "html")


def test_report_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, prejudge.report; assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
