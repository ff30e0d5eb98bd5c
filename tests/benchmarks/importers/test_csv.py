"""CSV files, good and bad; and where imported tables are found again."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from prejudge import cli
from prejudge.benchmarks import benchmark, benchmark_names, import_csv, import_table, open_table
from prejudge.benchmarks.table.library import place_for
from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.spaces import space

A = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
B = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
B_CELL = space("nasbench201").parse(B)
GOOD = f"arch,cifar10_test_200ep,n_seeds_200ep,mflops_cifar10,color\n{B},93.2,3,15.65322,red\n\n{A},,2,1.5,\n"


def _write(folder: Path, text: str | bytes, name: str = "in.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("compress", [False, True])
def test_a_small_file(tmp_path: Path, compress: bool) -> None:
    source = _write(tmp_path, gzip.compress(GOOD.encode()) if compress else GOOD)
    table = open_table(import_csv(source, tmp_path / "mine.h5"))
    assert table.name == "mine"
    assert table.query(B, "cifar10_test_200ep") == 93.2
    assert np.isnan(table.column("cifar10_test_200ep")[0])
    assert table.extra("n_seeds_200ep")[0] == 2
    assert (
        table.extra("flops", dataset="cifar10")[space("nasbench201").index(space("nasbench201").parse(B))] == 15653220
    )
    info = table.info()
    assert info["provenance"]["columns left out"] == "color"
    assert info["provenance"]["rows"] == "2"
    assert info["units"] == {"accuracy": "per cent", "n_seeds_200ep": "training runs", "flops_cifar10": "multiply-adds"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("cifar10_test_200ep\n1\n", "no column arch_str or arch or architecture"),
        (f"arch,accuracy,cifar10_loss_200ep\n{A},1,1\n", "no accuracies: .*accuracy, cifar10_loss_200ep"),
        ("arch,cifar10_test_200ep\n", "no rows"),
        ("arch,a_test_2ep,a_test_2ep\n", "column 'a_test_2ep' is there twice"),
        ("arch,\0latency\n", "which is not a name of a column"),
        (f"arch,a_test_2ep\n{A},1\n{B},1,2\n", "line 3: 3 fields, the header has 2"),
        (f"arch,a_test_2ep\n{A},1\n|x~0|,2\n", "line 3: nasbench201: .*node groups"),
        (f"arch,a_test_2ep\n{A.replace('avg_pool', 'max_pool')},1\n", "line 2: .*did you mean 'avg_pool_3x3'"),
        (f"arch,a_test_2ep\n{A},1\n{B},2\n{A},3\n", "line 4: .* was in line 2 already"),
        (f"arch,a_test_2ep\n{A},93.2\n{B},n/a\n", "line 3: a_test_2ep is 'n/a', which is not a number"),
        (f"arch,a_test_2ep,params\n{A},93.2,many\n", "line 2: params is 'many', which is not a number"),
        (f"arch,a_test_2ep\n{A},932\n", "line 2: a_test_2ep is 932; an accuracy is per cent"),
        (f"arch,a_test_2ep,params\n{A},93,inf\n", "line 2: params is infinite"),
        (f"arch,a_test_2ep\n{A},0.932\n", "multiply fractions by 100"),
        (f"arch,a_test_2ep\n{A},\n", "no column has any value"),
    ],
)
def test_bad_files_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        import_csv(_write(tmp_path, text), tmp_path / "out.h5")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.h5").exists()


def test_files_that_are_no_csv(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no CSV file"):
        import_csv(tmp_path / "none.csv", tmp_path / "out.h5")
    for content in (
        gzip.compress(GOOD.encode())[:-20],
        gzip.compress(GOOD.encode())[:30] + b"xxxxxxxxxxxx",
        b"\xff\xfe",
    ):
        with pytest.raises(FileFormatError) as error:
            import_csv(_write(tmp_path, content), tmp_path / "out.h5")
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="unknown space"):
        import_csv(_write(tmp_path, GOOD), tmp_path / "out.h5", space="nasbench301")


def test_imported_tables_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prejudge.benchmarks.table.library.user_folder", lambda: tmp_path / "data" / "benchmarks")
    with pytest.raises(InputError, match=r"unknown benchmark 'nasbench201'.*prejudge bench import"):
        benchmark("nasbench201")
    source = _write(tmp_path, GOOD)
    made = import_csv(source)
    assert made.path.is_relative_to(tmp_path / "data") and not made.already_there
    assert benchmark("nasbench201").query(B, "cifar10_test_200ep") == 93.2
    assert benchmark("nasbench201").path == benchmark(made).path == benchmark(str(made.path)).path
    assert import_table("csv", source).already_there
    assert not import_csv(source, name="other").already_there
    with pytest.raises(InputError, match="did you mean 'csv'"):
        import_table("cvs", source)
    assert {"nasbench201", "other"} <= set(benchmark_names())
    with pytest.raises(InputError, match="comes with prejudge"):
        import_csv(source, name="digits")
    with pytest.raises(InputError, match="made of letters"):
        import_csv(source, name="../x")
    with pytest.raises(MissingDataError, match="no benchmark table"):
        benchmark(tmp_path / "none.h5")
    with pytest.raises(InputError, match="did you mean 'nasbench201'"):
        benchmark("nasbench20")


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "in the way", "data")
    monkeypatch.setattr("prejudge.benchmarks.table.library.user_folder", lambda: tmp_path / "data" / "benchmarks")
    with pytest.raises(PrejudgeError, match=r"cannot make .*--out"):
        import_csv(_write(tmp_path, GOOD))


@pytest.mark.skipif("PREJUDGE_TEST_DATA" not in os.environ, reason="PREJUDGE_TEST_DATA is not set")
def test_the_whole_of_nasbench201(tmp_path: Path) -> None:
    source = Path(os.environ["PREJUDGE_TEST_DATA"]) / "data" / "nas_bench_201.csv.gz"
    table = open_table(import_csv(source, tmp_path / "nasbench201.h5"))
    best = {
        ("cifar10", "valid"): 91.607, ("cifar10", "test"): 94.373, ("cifar100", "valid"): 73.493,
        ("cifar100", "test"): 73.513, ("imagenet16", "valid"): 46.733, ("imagenet16-120", "test"): 47.311,
    }  # fmt: skip
    for (dataset, split), expected in best.items():
        assert table.column(dataset=dataset, split=split, epochs=200).max() == pytest.approx(expected, abs=6e-4)
    assert len(table.metrics()) == 12
    assert all(np.isfinite(table.column(m)).all() for m in table.metrics())
    assert table.query(A, dataset="cifar10", split="test", epochs=200) == 85.8633
    where = table.architectures
    for i in range(0, len(where), 157):
        assert table.extra("params", dataset="cifar10")[i] == where.params(where[i])
        assert table.extra("flops", dataset="cifar100")[i] == where.flops(where[i], num_classes=100)
        assert table.extra("flops", dataset="imagenet16")[i] == where.flops(where[i], image_size=16, num_classes=120)
    assert (tmp_path / "nasbench201.h5").stat().st_size < 1_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f'arch,a_test_2ep\n{A},"{"9" * 200_000}', "line 2: no line of a CSV file: field larger"),
        (f"arch,a_test_2ep\n{A},1\0", "line 2: no line of a CSV file|is not a number"),
        (f"arch,a_test_2ep\n{A},1_0\n", "line 2: a_test_2ep is '1_0', which is not a number"),
        ("arch" + ",x" * 20_000, "20,001 columns; at most 10,000"),
        ("arch,a_test_" + "9" * 5000 + "ep\n" + A + ",1\n", "no accuracies"),
        (f"arch,a_test_2ep\n²,{'x' * 100_000}\n", "line 2: nasbench201"),
    ],
)
def test_odd_files_are_refused_in_one_short_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        import_csv(_write(tmp_path, content), tmp_path / "out.h5")
    assert len(str(error.value)) <= 500 and len(str(error.value).splitlines()) == 1


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = gzip.compress(b"arch,a_test_2ep\n" + b" " * 200 * 2**20)
    with pytest.raises(FileFormatError, match="unpacks to more than"):
        import_csv(_write(tmp_path, bomb, "in.csv.gz"), tmp_path / "out.h5")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b.h5", "~nobody-of-this-name/x.h5", "x" * 5000 + ".h5", "mine\n"])
def test_names_that_no_table_can_have(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises((InputError, MissingDataError)) as error:
        benchmark(name)
    assert len(str(error.value)) <= 500
    with pytest.raises(InputError, match="a benchmark's name"):
        place_for(name)


def test_another_column_may_name_the_architectures(tmp_path: Path) -> None:
    rows = [("(4, 3, 3, 0, 0, 0)", A, 0, 90.5), ("(2, 2, 0, 4, 2, 2)", B, space("nasbench201").index(B_CELL), 91.5)]
    text = "net,net_str,index,x_test_2ep\n" + "".join(f'"{net}",{arch},{i},{v}\n' for net, arch, i, v in rows)
    source = _write(tmp_path, text)
    with pytest.raises(
        InputError, match=r"no column arch_str .*it has net, net_str, index, x_test_2ep\).*--column NAME"
    ):
        import_csv(source, tmp_path / "t.h5")
    with pytest.raises(InputError, match=r"line 2: .* notation='naslib'; say which"):
        import_csv(source, tmp_path / "t.h5", column="net")
    with pytest.raises(InputError, match=r"unknown column of .* 'nets'; did you mean 'net'"):
        import_csv(source, tmp_path / "t.h5", column="nets")
    for options in ({"column": "net", "notation": "naslib"}, {"column": "net_str"}, {"column": "index"}):
        made = import_table("csv", source, tmp_path / "t.h5", **options)
        assert not made.already_there
        assert import_table("csv", source, tmp_path / "t.h5", **options).already_there
        table = open_table(made)
        assert [table.query(arch, "x_test_2ep") for _, arch, _, _ in rows] == [90.5, 91.5]
        assert made.remark == "2 of 15,625 architectures are in the source; the others are NaN"
        assert options["column"] not in table.index.provenance["columns left out"].split(", ")
    with pytest.raises(InputError, match="notation is for CSV and NumPy files"):
        import_table("nasbench101", source, notation="naslib")


def test_fractions_are_said_to_be_such(tmp_path: Path) -> None:
    """One rule for CSV, npz and Python: per cent, unless it is said; a column that may be either is refused."""
    text = f"arch,x_test_2ep,y_test_2ep,x_test_2ep_loss\n{A},0.905,1,0.5\n{B},0.915,0.25,0.25\n"
    source, out = _write(tmp_path, text), tmp_path / "t.h5"
    np.savez(tmp_path / "in.npz", arch=np.array([A, B]), x_test_2ep=[0.905, 0.915], y_test_2ep=[1, 0.25])
    for kind, path, what in (("csv", source, "column x_test_2ep"), ("npz", tmp_path / "in.npz", "array x_test_2ep")):
        with pytest.raises(InputError, match=rf"{what}: .* highest of these is 0.915: .*--fractions .*--percent"):
            import_table(kind, path, out)
        made = import_table(kind, path, out, fractions=True)
        assert "accuracies were fractions and are stored as per cent" in made.remark
        assert open_table(made).query_many([A, B], "x_test_2ep").tolist() == [90.5, 91.5]
        assert open_table(made).query_many([A, B], "y_test_2ep").tolist() == [100, 25]
        made = import_table(kind, path, out, fractions=False)
        assert "fractions" not in made.remark
        assert open_table(made).query_many([A, B], "x_test_2ep").tolist() == [0.905, 0.915]
    assert open_table(import_csv(source, out, fractions=True)).query(A, "x_test_2ep_loss") == 0.5  # no accuracy
    beside = _write(tmp_path, text.replace("1,0.5", "95,0.5"))  # y is per cent; x would be silently wrong
    with pytest.raises(InputError, match="column x_test_2ep: accuracies must be per cent"):
        import_csv(beside, out)
    with pytest.raises(InputError, match="line 2: y_test_2ep is 95; an accuracy is here a fraction, from 0 to 1"):
        import_csv(beside, out, fractions=True)


def test_options_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _write(tmp_path, f"net,x_test_2ep\n433000,0.905\n{B},0.915\n")
    command = ["bench", "import", "csv", str(source), "--column", "net", "--out", str(tmp_path / "t.h5")]
    assert cli.run([*command, "--notation", "naslib"]) == 2
    assert "--fractions" in capsys.readouterr().err
    assert cli.run([*command, "--notation", "naslib", "--fractions"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "2 of 15,625 architectures are in the source; the others are NaN; accuracies were fractions" in said
    assert open_table(tmp_path / "t.h5").query(A, "x_test_2ep") == 90.5
    assert cli.run([*command, "--notation", "naslib", "--percent"]) == 0
    assert open_table(tmp_path / "t.h5").query(A, "x_test_2ep") == 0.905
