from __future__ import annotations

import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.cache import Protocol, ScoreCache, import_pickles, verify
from prejudge.errors import FileFormatError, InputError
from prejudge.spaces import space
from tests.hostile_pickles import Call

NB201 = space("nasbench201")


def record(i: int, **measures: Any) -> dict[str, Any]:
    return {"i": i, "arch": str(NB201[i]), "logmeasures": measures, "testacc": 90.0}


def write(path: Path, *records: Any) -> Path:
    path.write_bytes(b"".join(pickle.dumps(r) for r in records))
    return path


def test_a_zero_cost_nas_file(tmp_path: Path, path: Path) -> None:
    source = write(
        tmp_path / "nb2_cf10_seed42.p",
        record(0, snip=1.5, synflow=np.float64(1e30), jacob_cov=np.float32(-12.5)),
        record(1, snip=math.nan, synflow="1e3", jacob_cov="no value"),
        record(7, snip=np.array([2.0]), synflow=None, jacob_cov=math.inf),
    )
    with ScoreCache(path) as cache:
        report = import_pickles(cache, source, space=NB201)
    assert (report.architectures, report.scores, report.failed) == (3, 5, 4)
    cache = ScoreCache(path, "r")
    assert report.protocol.source == "imported from nb2_cf10_seed42.p (zero-cost-nas)"
    assert cache.protocols() == [report.protocol]
    text = report.protocol.describe()
    assert text["macro-architecture"] == text["data"] == text["image size"] == text["initialization"] == "not stated"
    frame = cache.frame()
    assert list(frame.index) == [str(NB201[i]) for i in (0, 1, 7)]
    np.testing.assert_array_equal(frame["snip"], [1.5, math.nan, 2.0])
    np.testing.assert_array_equal(frame["synflow"], [1e30, 1000.0, math.nan])
    reasons = cache.failures().set_index("proxy").reason
    assert list(reasons["jacob_cov"]) == ["the file has 'no value' instead of a number", "the file has inf"]
    assert reasons["snip"] == "the file has nan" and reasons["synflow"] == "the file has 'None' instead of a number"
    assert cache.runs()[0]["imported"] == "nb2_cf10_seed42.p" and math.isnan(cache.seconds()["snip"])
    assert verify(path) == []


def test_an_hnas_list_and_nas_bench_101_hashes(tmp_path: Path, path: Path) -> None:
    hnas = write(tmp_path / "list.p", [record(i, snip=float(i)) for i in range(5)])
    nb101 = write(tmp_path / "nb1.p", *({"hash": f"{i:032x}", "logmeasures": {"snip": 1.0}} for i in range(3)))
    with ScoreCache(path) as cache:
        first = import_pickles(cache, hnas, space=NB201).protocol
        second = import_pickles(cache, nb101).protocol
        assert len(cache.frame(first)) == 5 and cache.architectures(second)[2] == f"{2:032x}"
        assert second.space == "not stated"


def test_importing_again_and_several_seeds(tmp_path: Path, path: Path) -> None:
    files = [write(tmp_path / f"seed{s}.p", record(0, snip=1.0 + s), record(0, snip=2.0 + s)) for s in range(2)]
    known = Protocol("nasbench201", {"channels": 16, "form": "zero-cost-nas"}, source="zero-cost-nas, two seeds")
    with ScoreCache(path) as cache:
        for repeat, file in enumerate([*files, files[0]]):
            import_pickles(cache, file, space=NB201, protocol=known, repeat=repeat % 2)
        assert cache.protocols() == [known]
        np.testing.assert_array_equal(cache.values(known, "snip"), [[2.0, 3.0]])  # the later record of a file counts


def test_a_truncated_file_keeps_what_was_read(tmp_path: Path, path: Path) -> None:
    source = write(tmp_path / "cut.p", *(record(i, snip=float(i)) for i in range(5)))
    size = len(pickle.dumps(record(0, snip=0.0)))
    source.write_bytes(source.read_bytes()[:-3])
    with ScoreCache(path) as cache:
        with pytest.raises(
            FileFormatError, match=r"cut\.p is truncated .* byte (\d+); the 4 records before it are imported"
        ) as e:
            import_pickles(cache, source, space=NB201)
        assert abs(int(str(e.value).split("byte ")[1].split(";")[0]) - 4 * size) < 40
        assert len(cache.frame()) == 4
    assert len(ScoreCache(path, "r").frame()) == 4


@pytest.mark.parametrize(
    "content",
    [{"arch": "x"}, {"logmeasures": {"snip": 1.0}}, {"arch": "x", "logmeasures": [{"epoch": 1}]}, 3, "text", [1], None],
)
def test_other_pickles_are_refused(tmp_path: Path, path: Path, content: Any) -> None:
    source = write(tmp_path / "other.p", content)
    with ScoreCache(path) as cache, pytest.raises(FileFormatError, match=r"other\.p.* byte 0 is not a score record"):
        import_pickles(cache, source)


def test_bad_files_and_spaces(tmp_path: Path, path: Path) -> None:
    with ScoreCache(path) as cache:
        (tmp_path / "empty.p").write_bytes(b"")
        with pytest.raises(FileFormatError, match=r"empty\.p is empty"):
            import_pickles(cache, tmp_path / "empty.p")
        source = write(tmp_path / "a.p", {"arch": "|nonsense~0|", "logmeasures": {"snip": 1.0}})
        with pytest.raises(InputError, match="nasbench201"):
            import_pickles(cache, source, space=NB201)
        with pytest.raises(InputError, match="is of space darts"):
            import_pickles(cache, source, space=NB201, protocol=Protocol("darts"))


def test_a_malicious_file_runs_nothing(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    source = write(tmp_path / "evil.p", record(0, snip=1.0), record(1, snip=Call(os.system, "touch owned")))
    with ScoreCache(path) as cache:
        with pytest.raises(FileFormatError, match="nothing in it was run; the 1 records before it"):
            import_pickles(cache, source, space=NB201)
        assert len(cache.frame()) == 1
    assert not (tmp_path / "owned").exists()


def test_the_direction_comes_from_the_proxy_of_that_name(tmp_path: Path, path: Path) -> None:
    from prejudge.proxies.registry import get

    source = write(tmp_path / "a.p", record(0, snip=1.0, ntk_condition=3.0, unheard_of=1.0))
    with ScoreCache(path) as cache:
        import_pickles(cache, source, space=NB201)
        ours = get("ntk_condition").higher_is_better
        for name, higher in (("snip", True), ("ntk_condition", ours), ("unheard_of", True)):
            assert cache.column_info(name)["higher_is_better"] is higher
