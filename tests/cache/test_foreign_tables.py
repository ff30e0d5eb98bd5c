"""Scores from NAS-Bench-Suite-Zero's JSON files and from CSV files: right cells, their convention named, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge import cli
from prejudge.cache import ScoreCache, import_scores, verify
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.spaces import space

NB201 = space("nasbench201")
KEYS = {"(4, 3, 3, 0, 0, 0)": 0, "(2, 2, 1, 4, 2, 4)": 11}
"""Keys of NASLib, and the official indices of what they mean."""


def record(synflow: float, **others: Any) -> dict[str, Any]:
    return {"synflow": {"score": synflow, "time": 0.25}, "id": 3, "val_accuracy": 81.9, **others}


CONTENT = {data: {key: record(i + shift) for key, i in KEYS.items()} for data, shift in (("cifar10", 1), ("svhn", 2))}


def write(folder: Path, content: Any, name: str = "zc_nasbench201.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("content", [CONTENT, {"nasbench201": CONTENT}, {"nb201": CONTENT, "nb101": {"cifar10": {}}}])
def test_a_file_of_suite_zero(tmp_path: Path, path: Path, content: Any) -> None:
    source = write(tmp_path, content)
    with ScoreCache(path) as cache:
        report = import_scores(cache, source, space=NB201)
    assert (report.architectures, report.scores, report.failed, report.left_out) == (4, 4, 0, ("id", "val_accuracy"))
    assert [p.data for p in report.protocols] == ["cifar10", "svhn"]
    assert "NAS-Bench-Suite-Zero, architectures written as naslib" in report.protocol.source
    cache = ScoreCache(path, "r")
    for protocol, shift in zip(report.protocols, (1, 2), strict=True):
        frame = cache.frame(protocol)
        assert frame["synflow"].to_dict() == {str(NB201[i]): i + shift for i in KEYS.values()}
    assert verify(path) == []


def test_real_scores_of_suite_zero(golden: Path, path: Path) -> None:
    source = golden / "tables" / "suite_zero" / "zc_nasbench201.json"
    with ScoreCache(path) as cache:
        report = import_scores(cache, source, space=NB201, dataset="cifar10", proxies=["params", "flops"])
    assert (report.architectures, report.scores, len(report.protocols)) == (50, 100, 1)
    frame = ScoreCache(path, "r").frame()
    cells = [NB201.parse(text) for text in frame.index]
    np.testing.assert_allclose(
        frame["params"] * 1e6, [NB201.params(cell) for cell in cells]
    )  # cells are the right ones
    with ScoreCache(path) as cache, pytest.raises(FileFormatError, match="of TransNAS-Bench-101, whose cells are not"):
        import_scores(cache, source.with_name("zc_transbench101_micro.json"), space=NB201)


def test_lists_infinities_and_other_spaces(tmp_path: Path, path: Path) -> None:
    shards = [{"idx": n, "arch": key, **record(float("-inf") if n else 1.5)} for n, key in enumerate(KEYS)]
    chain = np.zeros((7, 7), int)
    chain[0, 1] = chain[1, 6] = 1
    key101 = str((*chain.flatten().tolist(), 0, 4, 4, 4, 4, 4, 1))
    cell = ((0, 0), (1, 5), (1, 1), (2, 0), (0, 3), (3, 4), (0, 1), (2, 4))
    darts = str((cell, cell))
    with ScoreCache(path) as cache:
        report = import_scores(cache, write(tmp_path, shards), space=NB201, dataset="cifar10")
        assert (report.scores, report.failed, report.protocol.data) == (1, 1, "cifar10")
        assert cache.failures(report.protocol).reason.tolist() == ["the file has -inf"]
        source = write(tmp_path, {"cifar10": {key101: record(1.0)}}, "zc_nasbench101.json")
        with pytest.raises(InputError, match="56 integers need notation='naslib' or 'flan'"):
            import_scores(cache, source, space=space("nasbench101"))
        found = import_scores(cache, source, space=space("nasbench101"), notation="naslib").protocol
        assert list(cache.frame(found).index) == ["10.1:conv3x3"]
        source = write(tmp_path, {"cifar10": {darts: record(1.0)}}, "zc_nasbench301.json")
        found = import_scores(cache, source, space=space("darts")).protocol
        assert "('dil_conv_3x3', 1)" in cache.frame(found).index[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a JSON file"),
        ("[" * 5000, "is not a JSON file"),
        ({}, "not a file of NAS-Bench-Suite-Zero"),
        ({"cifar10": {"a": 1}}, "not a file of NAS-Bench-Suite-Zero"),
        ({"nb301": CONTENT}, "is of nb301, not of nasbench201"),
        ({"cifar10": {**CONTENT["cifar10"], "(0, 0, 0, 0, 0, 5)": record(1.0)}}, "5 in .* is not an operation"),
        ({"cifar10": {**CONTENT["cifar10"], "(0, 0, 0, 0, 0, 1)": {"val_accuracy": 3}}}, "has no proxy with a score"),
        ({"cifar10": {**CONTENT["cifar10"], "433000": record(1.0)}}, "'433000' twice"),
    ],
)
def test_an_error_takes_nothing(tmp_path: Path, path: Path, content: Any, message: str) -> None:
    with ScoreCache(path) as cache:
        with pytest.raises((FileFormatError, InputError), match=message) as error:
            import_scores(cache, write(tmp_path, content), space=NB201)
        assert str(tmp_path) in str(error.value)
        assert cache.protocols() == []


CSV = (
    "net,net_str,index,synflow,nwot,val_accs,time=[s]\n"
    f'"(4, 3, 3, 0, 0, 0)",{NB201[0]},0,46.4,738.3,81.9,0.1\n"(2, 2, 1, 4, 2, 4)",{NB201[11]},11,inf,,90.4,0.1\n'
)


def test_a_csv_file_by_any_of_its_columns(tmp_path: Path, path: Path) -> None:
    source = write(tmp_path, CSV, "scores.csv")
    for options in ({"column": "net", "notation": "naslib"}, {"column": "net_str"}, {"column": "index"}):
        with ScoreCache(tmp_path / f"{options['column']}.h5") as cache:
            report = import_scores(cache, source, space=NB201, dataset="cifar10", **options)  # type: ignore[arg-type]
            assert (report.architectures, report.scores, report.failed) == (2, 2, 1)
            assert {"val_accs", "time=[s]"} <= set(report.left_out)
            assert f"CSV, column {options['column']}" in report.protocol.source
            frame = cache.frame()
            assert frame.loc[str(NB201[0])].to_dict() == {"synflow": 46.4, "nwot": 738.3}
            assert np.isnan(frame.loc[str(NB201[11]), "synflow"])
    with ScoreCache(path) as cache:
        for given, message in (
            ({}, "--column NAME"),
            ({"column": "net"}, r"line 2: .* notation='naslib'; say which"),
            ({"column": "net_str", "proxies": ["zen"]}, "unknown column of .* 'zen'"),
            ({"column": "net_str", "notation": "nas"}, "unknown nasbench201 notation"),
        ):
            with pytest.raises(InputError, match=message):
                import_scores(cache, source, space=NB201, **given)  # type: ignore[arg-type]
        with pytest.raises(MissingDataError):
            import_scores(cache, tmp_path / "none.csv", space=NB201)
        with pytest.raises(InputError, match="say the search space"):
            import_scores(cache, source)
        assert cache.protocols() == []


def test_the_command_says_what_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The layout of FreeREA's tables: an index, a score, and times."""
    source = write(
        tmp_path, "index,synflow,time=[s],time_pure=[s]\n0,2.0e+26,0.57,0.56\n1,4.0e+47,0.14,0.13\n", "s.csv"
    )
    command = ["cache", "import", str(source), "--out", str(tmp_path / "s.h5"), "--column", "index"]
    assert cli.run([*command, "--dataset", "cifar10"]) == 0
    told = capsys.readouterr()
    assert "2 scores of 2 architectures, 0 failed" in told.out
    assert "imported from s.csv (CSV, column index)" in told.err
    assert "left out: time=[s], time_pure=[s]" in told.err
    assert list(ScoreCache(tmp_path / "s.h5", "r").frame().index) == [str(NB201[0]), str(NB201[1])]
