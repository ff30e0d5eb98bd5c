from __future__ import annotations

import dataclasses
import io
import re

import numpy as np
import pandas as pd
import pytest

from prejudge.errors import InputError
from prejudge.report import correlation_page, to_csv, to_html, to_latex, to_markdown
from prejudge.report.correlation.table import correlation_columns
from prejudge.report.numbers import duration

METRIC = "cifar10 test 200ep"


def test_csv_keeps_every_number_exactly(make_report):
    data = make_report(60)
    read = pd.read_csv(io.StringIO(to_csv(data)))
    assert len(read) == len(data.correlations)
    np.testing.assert_array_equal(read["spearman"], data.correlations["spearman"])
    assert set(read["role"]) == {"proxy", "baseline", "ensemble"}
    assert set(read["space"]) == {"nasbench201"}
    one = pd.read_csv(io.StringIO(to_csv(correlation_page(data, METRIC, "all"))))
    assert len(one) == data.correlations["proxy"].nunique()


def test_markdown_shows_what_a_paper_shows(make_report):
    data = make_report(60)
    text = to_markdown(correlation_page(data, METRIC, "all"))
    header = next(line for line in text.splitlines() if line.startswith("| Proxy"))
    for heading in ("n", "Spearman ρ", "Kendall τ", "Weighted τ", "Partial ρ", "P@10 %", "Regret %", "s/arch"):
        assert f"| {heading} |" in header
    row = data.rows(METRIC, "all").set_index("proxy").loc["synflow"]
    interval = f"{row.spearman:.3f} [{row.spearman_low:.3f}, {row.spearman_high:.3f}]"
    assert interval in next(line for line in text.splitlines() if line.startswith("| synflow")).replace("**", "")
    names = re.findall(r"^\| ([\w\\ ]+?) \|", text, re.MULTILINE)[1:]
    assert names.index("params") > names.index("plain"), "baselines come after the proxies, ensembles last"
    assert names[-2:] == ["rank average", "vote of 3"] or names[-2:] == ["vote of 3", "rank average"]
    assert to_markdown(data).count("| Proxy |") == len(data.metrics) * len(data.strata)


def test_bold_and_brackets_claim_no_more_than_the_intervals(make_report):
    data = make_report(60)

    def shown(**columns):
        table = data.correlations.assign(**columns)
        page = correlation_page(dataclasses.replace(data, correlations=table), METRIC, "all")
        text = to_markdown(page)
        rows = {line.split(" |")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
        return page, text, {name for name, line in rows.items() if "**" in line}

    frame = data.rows(METRIC, "all").set_index("proxy")
    best = frame["spearman"].idxmax()
    overlapping = {p for p, row in frame.iterrows() if row.spearman_high >= frame.spearman_low[best]}
    assert best in overlapping
    assert 0 < len(overlapping) < len(frame)
    page, text, bold = shown()
    assert bold == {name.replace("_", r"\_") for name in overlapping}
    assert text.count("**") == 2 * len(overlapping), "other columns have no intervals, and no bold"
    page, text, bold = shown(spearman_low=np.nan, spearman_high=np.nan, no_interval="n = 9 is less than 10")
    assert not bold
    assert "where they are missing, an interval would claim too much" in text
    assert 'title="no interval: n = 9 is less than 10"' in to_html(page)
    assert "no interval: n = 9" in page.summaries[0].figures[0][2]
    assert not shown(spearman_low=-0.1)[2], "the best may be chance"
    assert not shown(spearman_low=0.01, spearman_high=0.99)[2], "none is told apart"
    page, text, _ = shown(undefined=0.031)
    assert "; left out: 3.1 % of the resamples, undefined" in to_html(page)


def test_latex_is_balanced_booktabs(make_report):
    data = make_report(60)
    text = to_latex(correlation_page(data, METRIC))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == len(data.strata)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == len(data.strata)
    assert text.count(r"\midrule") == 3 * len(data.strata)
    for line in text.splitlines():
        if line.endswith(r"\\"):
            assert line.count(" & ") == 8
    assert r"grad\_norm" in text
    assert "$-$" in text, "plain is negative"
    assert not re.search(r"(?<!\\)[_%#]", text.split("\n", 1)[1])
    assert text.isascii()


def test_hostile_names_are_escaped(make_report):
    data = make_report(60)
    name = r"<script>|a_b*c`[x](y)\input{z}%&$#^~"
    table = data.correlations.replace({"proxy": {"plain": name}})
    data = dataclasses.replace(data, correlations=table, title="50 % <b>|")
    markdown = to_markdown(correlation_page(data, METRIC, "all"))
    assert "<script>" not in markdown
    assert r"\<script\>\|a\_b\*c\`[x\](y)" in markdown
    line = next(line for line in markdown.splitlines() if "script" in line)
    assert len(re.findall(r"(?<!\\)\|", line)) == 10
    latex = to_latex(correlation_page(data, METRIC, "all"))
    assert r"\textbackslash{}input\{z\}\%\&\$\#\textasciicircum{}\textasciitilde{}" in latex


def test_missing_numbers_are_dashes_and_absent_columns_are_left_out(make_report):
    data = make_report(60)
    table = data.correlations.assign(kendall=np.nan, weighted_tau=np.inf).drop(columns="regret")
    table.loc[table["proxy"] == "snip", ["spearman", "spearman_low", "spearman_high"]] = np.nan
    data = dataclasses.replace(data, correlations=table)
    assert not {"kendall", "weighted_tau", "regret"} & {column.key for column in correlation_columns(data)}
    snip = next(
        line for line in to_markdown(correlation_page(data, METRIC, "all")).splitlines() if line.startswith("| snip")
    )
    assert "| – |" in snip
    assert "nan" not in to_markdown(data).lower()
    assert "nan" not in to_latex(data).lower()


def test_unknown_metric_is_refused(make_report):
    with pytest.raises(InputError, match="unknown metric 'svhn'"):
        correlation_page(make_report(60), "svhn")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2e-5, "20 µs"), (0.0123, "12.3 ms"), (4.56, "4.56 s"), (300, "5 min"), (7.2e4, "20.0 h"), (np.nan, "–")],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
