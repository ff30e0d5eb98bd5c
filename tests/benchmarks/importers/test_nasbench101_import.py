"""NAS-Bench-101's records into a table: every number equals a plain reading, and damage is told with its place."""

from __future__ import annotations

import base64
import json
import pickle
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prejudge.benchmarks import Metric, Table, open_table
from prejudge.benchmarks.importers.nasbench101 import importer as nasbench101
from prejudge.benchmarks.importers.nasbench101 import records as nasbench101_records
from prejudge.benchmarks.importers.nasbench101.importer import import_nasbench101
from prejudge.benchmarks.importers.nasbench101.model_metrics import QUANTITIES, VALUES
from prejudge.benchmarks.importers.nasbench101.records import read_records
from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.formats.tfrecord import read_blocks
from prejudge.spaces.nasbench101.space import NASBench101
from tests.benchmarks.importers import nasbench101_files as files
from tests.benchmarks.importers.nasbench101_files import Cell

SCHEDULES = (4, 12, 36, 108)
SPACE = NASBench101()


def cells(count: int, seed: int = 0) -> list[Cell]:
    """Different cells of the space with their true hashes."""
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        arch = SPACE.sample(rng)
        digits = "".join(str(entry) for row in arch.matrix for entry in row)
        names = ",".join(["input", *(SPACE.operations[op] for op in arch.operations), "output"])
        found[SPACE.canonical(arch)] = (digits, names)
    return [(key, *cell) for key, cell in found.items()]


@pytest.fixture(scope="module")
def some_cells() -> list[Cell]:
    return cells(40)


def shuffled(payloads: list[bytes]) -> list[bytes]:
    return random.Random(0).sample(payloads, len(payloads))


def expected(payloads: list[bytes]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Runs of each cell and schedule in the order of the file, read plainly."""
    runs: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for payload in payloads:
        row = files.plain_reading(payload)
        runs[row["hash"], row["epochs"]].append(row)
    return runs


API_FIELD = {"train": "train_accuracy", "valid": "validation_accuracy", "test": "test_accuracy"}


def assert_equals(table: Table, payloads: list[bytes]) -> None:
    """Every number of the table, and no more columns than there are numbers."""
    runs = expected(payloads)
    for (key, epochs), rows in runs.items():
        for moment, evaluation in (("halfway-", 1), ("", 2)):
            for split, field in API_FIELD.items():
                values = [row["evaluations"][evaluation][field] * 100 for row in rows]
                ask = {"dataset": "cifar10", "split": split, "epochs": epochs, "quantity": f"{moment}accuracy"}
                assert [table.query(key, **ask, seed=s) for s in range(len(rows))] == values
                assert table.query(key, **ask) == sum(values) / len(values)
            values = [row["evaluations"][evaluation]["training_time"] for row in rows]
            ask = {"dataset": "cifar10", "split": "train", "epochs": epochs, "quantity": f"{moment}seconds"}
            assert [table.query(key, **ask, seed=s) for s in range(len(rows))] == values
        ask = {"dataset": "cifar10", "split": "train", "epochs": epochs, "quantity": "total-seconds"}
        assert [table.query(key, **ask, seed=s) for s in range(len(rows))] == [row["total"] for row in rows]
    schedules = {epochs for _, epochs in runs}
    assert len(table.metrics()) == len(schedules) * 4 * len(VALUES)


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("schedules", [(108,), SCHEDULES])
def test_every_number_equals_a_plain_reading(
    tmp_path: Path, some_cells: list[Cell], schedules: tuple[int, ...], lines: bool
) -> None:
    payloads = shuffled(list(files.payloads(some_cells, schedules, lines=lines)))
    path = files.write_tfrecord(tmp_path / "some.tfrecord", payloads)
    result = import_nasbench101(path, tmp_path / "t.h5")
    assert not result.already_there
    table = open_table(result.path)
    assert_equals(table, payloads)
    assert table.info()["architectures"] == len(some_cells)
    assert table.index.units["halfway-accuracy"] == "per cent"
    assert table.index.provenance["training runs"] == str(len(payloads))
    by_hash = {files.plain_reading(p)["hash"]: files.plain_reading(p)["params"] for p in payloads}
    found = dict(zip(map(SPACE.canonical, table.architectures), table.extra("params"), strict=True))
    assert found == by_hash


def test_queries_take_every_notation(tmp_path: Path, some_cells: list[Cell]) -> None:
    payloads = list(files.payloads(some_cells))
    table = open_table(import_nasbench101(files.write_tfrecord(tmp_path / "f", payloads), tmp_path / "t.h5").path)
    for key, digits, names in some_cells[:5]:
        size = round(len(digits) ** 0.5)
        matrix = [[int(d) for d in digits[i : i + size]] for i in range(0, len(digits), size)]
        forms = [key, (digits, names), {"matrix": matrix, "ops": names.split(",")}, SPACE.parse((digits, names))]
        assert len({table.query(form, "cifar10_test_108ep") for form in forms}) == 1


def test_the_regular_and_the_single_way_give_the_same(
    tmp_path: Path, some_cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write_tfrecord(tmp_path / "f", shuffled(list(files.payloads(some_cells, SCHEDULES, lines=True))))
    block = next(read_blocks(path))
    together = read_records(path, block)
    assert together.regular.all()
    original = nasbench101_records._taken_apart
    monkeypatch.setattr(
        nasbench101_records, "_taken_apart", lambda *a: (*original(*a)[:2], np.zeros(len(block), dtype=bool))
    )
    alone = read_records(path, block)
    assert not alone.regular.any()
    assert together.hashes == alone.hashes
    for field in ("epochs", "values", "params"):
        np.testing.assert_array_equal(getattr(together, field), getattr(alone, field))
    every = list(range(len(block)))
    assert list(together.cells(every)) == list(alone.cells(every))


def odd_forms(cell: Cell, epochs: int, metrics: bytes) -> list[bytes]:
    """Other ways to write one record, all of them JSON with the same content."""
    text = base64.b64encode(metrics).decode()
    row = [cell[0], epochs, cell[1], cell[2], text]
    escaped = "".join(f"\\u{ord(c):04x}" for c in text)
    return [
        json.dumps(row).encode(),
        json.dumps(row, separators=(",", ":")).encode(),
        json.dumps(row, indent=1).encode(),
        json.dumps(row).replace("/", "\\/").encode(),
        json.dumps(row).replace(text, escaped).encode(),
        json.dumps(row).replace("input,", "\\u0069nput,").encode(),
        json.dumps([*row[:4], base64.encodebytes(metrics).decode()]).encode(),
        json.dumps([*row[:4], "\n".join([text[:8], text[8:]])]).encode(),
        json.dumps([*row[:4], f" {text} "]).encode(),
        b" " + json.dumps(row).encode(),
    ]


@given(seed=st.integers(0, 2**16), extra=st.booleans(), params=st.integers(0, 2**31 - 1))
def test_every_form_of_json_reads_the_same(
    tmp_path_factory: pytest.TempPathFactory, some_cells: list[Cell], seed: int, extra: bool, params: int
) -> None:
    rng = random.Random(seed)
    unknown = files.tagged(6, 2, b"model.ckpt-1") + files.tagged(9, 0, files.varint(params)) if extra else b""
    metrics = files.random_message(rng, 108, params, unknown)
    payloads = odd_forms(rng.choice(some_cells), 108, metrics)
    path = files.write_tfrecord(tmp_path_factory.mktemp("forms") / "f", shuffled(payloads))
    records = read_records(path, next(read_blocks(path)))
    plain = files.plain_reading(payloads[0])
    names = ("training_time", "train_accuracy", "validation_accuracy", "test_accuracy")
    values = [plain["evaluations"][e][name] for e in (1, 2) for name in names] + [plain["total"]]
    assert records.values.tolist() == [values] * len(payloads)
    assert records.params.tolist() == [params] * len(payloads)
    assert set(records.hashes) == {plain["hash"].encode()}
    assert set(records.cells(list(range(len(payloads))))) == {(plain["adjacency"], plain["operations"])}


def test_values_without_runs_and_fields_are_nan(tmp_path: Path, some_cells: list[Cell]) -> None:
    """A cell with one run, one with three, one without a total time and parameters."""
    full = list(files.payloads(some_cells[:2]))
    bare = files.message([files.evaluation({"test_accuracy": 0.5})] * 3, None, None)
    payloads = [full[0], *full[3:], files.payload(some_cells[2], 108, bare)]
    table = open_table(import_nasbench101(files.write_tfrecord(tmp_path / "f", payloads), tmp_path / "t.h5").path)
    assert table.query(some_cells[2][0], "cifar10_test_108ep") == 50
    rows = [table.architectures.index(cell[0]) for cell in some_cells[:3]]
    known = {s: np.isfinite(table.column(Metric("cifar10", "test", 108, s)))[rows].tolist() for s in (0, 1, 2)}
    assert known == {0: [True, True, True], 1: [False, True, False], 2: [False, True, False]}
    single = [table.query(some_cells[0][0], dataset="cifar10", split="test", epochs=108, seed=s) for s in (0, "mean")]
    assert single[0] == single[1]
    total = table.column(Metric("cifar10", "train", 108, quantity="total-seconds"))[rows]
    assert np.isfinite(total).tolist() == [True, True, False]
    assert np.isfinite(table.extra("params")[rows]).tolist() == [True, True, False]


def test_times_that_are_no_float32_stay_exact(tmp_path: Path, some_cells: list[Cell]) -> None:
    odd = 1234.000000001
    evaluation = files.evaluation({"training_time": odd, "test_accuracy": 1 / 3})
    payloads = list(files.payloads(some_cells[:3]))
    payloads.append(files.payload(some_cells[3], 108, files.message([evaluation] * 3, 1, odd)))
    table = open_table(import_nasbench101(files.write_tfrecord(tmp_path / "f", payloads), tmp_path / "t.h5").path)
    ask = {"dataset": "cifar10", "epochs": 108, "seed": 0}
    assert table.query(some_cells[3][0], **ask, split="train", quantity="seconds") == odd
    assert table.query(some_cells[3][0], **ask, split="test") == 1 / 3 * 100


def test_the_same_file_is_not_imported_twice(tmp_path: Path, some_cells: list[Cell]) -> None:
    path = files.write_tfrecord(tmp_path / "some.tfrecord", files.payloads(some_cells[:4]))
    out = tmp_path / "t.h5"
    assert not import_nasbench101(path, out).already_there
    stamp = out.stat().st_mtime_ns
    again = import_nasbench101(path, out)
    assert (again.already_there, again.path, out.stat().st_mtime_ns) == (True, out, stamp)
    assert not import_nasbench101(path, out, name="other").already_there
    files.write_tfrecord(path, files.payloads(some_cells[1:5]))  # as many bytes, perhaps, but others
    assert not import_nasbench101(path, out, name="other").already_there
    out.write_bytes(b"damaged")
    assert not import_nasbench101(path, out).already_there


def test_progress_is_told(tmp_path: Path, some_cells: list[Cell]) -> None:
    told: list[tuple[int, int, float]] = []
    path = files.write_tfrecord(tmp_path / "f", files.payloads(some_cells))
    import_nasbench101(path, tmp_path / "t.h5", progress=lambda *state: told.append(state))
    assert told
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("published", nasbench101.PUBLISHED)
def test_a_published_name_needs_the_published_digest(
    tmp_path: Path, some_cells: list[Cell], published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write_tfrecord(tmp_path / published, files.payloads(some_cells[:2]))
    with pytest.raises(FileFormatError, match=r"not the published file: its SHA-256 is [0-9a-f]{64}, not [34]"):
        import_nasbench101(path, tmp_path / "t.h5")
    assert not (tmp_path / "t.h5").exists()
    result = import_nasbench101(path, tmp_path / "t.h5", check_published=False)
    provenance = open_table(result.path).index.provenance
    assert provenance["published as"] == "unknown to prejudge"
    monkeypatch.setitem(nasbench101.PUBLISHED, published, provenance["sha256"])
    table = open_table(import_nasbench101(path, tmp_path / "u.h5").path)
    assert table.index.provenance["published as"] == published


def damaged(change: Callable[[list[Any]], object]) -> Callable[[bytes], bytes]:
    def apply(payload: bytes) -> bytes:
        row = json.loads(payload)
        change(row)
        return json.dumps(row).encode()

    return apply


def put(place: int, value: Any) -> Callable[[list[Any]], object]:
    return lambda row: row.__setitem__(place, value)


def constant(values: dict[str, float]) -> bytes:
    return files.message([files.evaluation(values)] * 3, 1, 1.0)


def recoded(change: Callable[[bytes], bytes]) -> Callable[[list[Any]], object]:
    return lambda row: row.__setitem__(4, base64.b64encode(change(base64.b64decode(row[4]))).decode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p[:-1], "it is not JSON"),
        (lambda p: b"\xff\xfe" + p, "it is not JSON"),
        (lambda p: b"[" * 10_000, "it is not JSON"),
        (lambda p: b"{}", "it is not a list of hash, epochs"),
        (damaged(lambda row: row.pop()), "it is not a list of hash, epochs"),
        (damaged(put(0, "short")), "its hash is 'short'"),
        (damaged(put(0, "Z" * 32)), "its hash is 'ZZZ"),
        (damaged(put(1, "108")), "it is not a list of hash, epochs"),
        (damaged(put(1, True)), "it is not a list of hash, epochs"),
        (damaged(put(1, 0)), "it has 0 epochs"),
        (damaged(put(2, "0101")), "nasbench101: "),
        (damaged(put(3, "input,conv7x7,output")), "unknown nasbench101 operation 'conv7x7'"),
        (damaged(put(4, "AAA")), "its metrics are not base64"),
        (damaged(put(4, "A*AA" * 50)), "its metrics are not base64"),
        (damaged(put(4, "")), "it has 0 evaluations"),
        (damaged(recoded(lambda m: m[:-4])), "it ends within a field"),
        (damaged(recoded(lambda m: m[:47] + b"\x0b" + m[48:])), "it has a field of wire type 3"),
        (damaged(recoded(lambda m: constant({"test_accuracy": 94.3}))), "impossible numbers"),
        (damaged(recoded(lambda m: constant({"training_time": -1.0}))), "impossible numbers"),
    ],
)
def test_a_damaged_record_is_named(
    tmp_path: Path, some_cells: list[Cell], change: Callable[[bytes], bytes], reason: str
) -> None:
    """With checksums that are right, so that only the content is wrong."""
    payloads = list(files.payloads(some_cells[:4], repeats=1))
    payloads[2] = change(payloads[2])
    path = files.write_tfrecord(tmp_path / "f.tfrecord", payloads)
    at = sum(len(p) + 16 for p in payloads[:2])
    with pytest.raises(FileFormatError) as caught:
        import_nasbench101(path, tmp_path / "t.h5")
    assert f"f.tfrecord: record 3 at byte {at} is not a record of NAS-Bench-101: {reason}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "t.h5").exists()


def test_a_fourth_run_is_named(tmp_path: Path, some_cells: list[Cell]) -> None:
    payloads = list(files.payloads(some_cells[:3]))
    path = files.write_tfrecord(tmp_path / "f", [*payloads, payloads[4]])
    with pytest.raises(FileFormatError, match=f"record 10 at byte .* run 4 of cell {some_cells[1][0]} with 108 epochs"):
        import_nasbench101(path, tmp_path / "t.h5")


def test_a_wrong_hash_is_named(tmp_path: Path, some_cells: list[Cell]) -> None:
    wrong = [("0" * 32, *some_cells[0][1:])]
    path = files.write_tfrecord(tmp_path / "f", files.payloads(wrong))
    with pytest.raises(FileFormatError, match=f"called {'0' * 32}, but its hash is {some_cells[0][0]}"):
        import_nasbench101(path, tmp_path / "t.h5")


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "nasbench.pickle"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(FileFormatError, match=r"is not a TFRecord file .*a pickle"):
        import_nasbench101(path, tmp_path / "t.h5")
    with pytest.raises(MissingDataError, match="does not exist; it must be a TFRecord file"):
        import_nasbench101(tmp_path / "missing", tmp_path / "t.h5")
    with pytest.raises(MissingDataError, match="is a folder, not a TFRecord file"):
        import_nasbench101(tmp_path, tmp_path / "t.h5")


def api_object(payloads: list[bytes]) -> Any:
    """What the official loader makes of the records."""
    fixed: dict[str, Any] = {}
    computed: dict[str, Any] = {}
    for row in map(files.plain_reading, payloads):
        size = round(len(row["adjacency"]) ** 0.5)
        fixed.setdefault(row["hash"], {
            "module_adjacency": np.array([int(d) for d in row["adjacency"]], dtype=np.int8).reshape(size, size),
            "module_operations": row["operations"].split(","), "trainable_parameters": row["params"]})  # fmt: skip
        run = {
            f"{moment}_{field}": row["evaluations"][e][field]
            for e, moment in ((1, "halfway"), (2, "final"))
            for field in files.FIELDS[1:]
        }
        computed.setdefault(row["hash"], {}).setdefault(row["epochs"], []).append(run)
    return SimpleNamespace(fixed_statistics=fixed, computed_statistics=computed)


def test_an_open_api_object_gives_the_same_table(
    tmp_path: Path, some_cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nasbench101, "_API_RECORDS", 100)
    payloads = list(files.payloads(some_cells, SCHEDULES))
    of_file = open_table(import_nasbench101(files.write_tfrecord(tmp_path / "f", payloads), tmp_path / "t.h5").path)
    of_api = open_table(import_nasbench101(api_object(payloads), tmp_path / "u.h5").path)
    without = [m for m in of_file.metrics() if m.quantity != "total-seconds"]
    assert of_api.metrics() == without
    for metric in without:
        np.testing.assert_array_equal(of_api.column(metric), of_file.column(metric))
    np.testing.assert_array_equal(of_api.extra("params"), of_file.extra("params"))
    assert list(map(str, of_api.architectures)) == list(map(str, of_file.architectures))


def test_other_objects_are_refused(tmp_path: Path, some_cells: list[Cell]) -> None:
    with pytest.raises(InputError, match="cannot import 'dict'; give the path"):
        import_nasbench101({"a": 1}, tmp_path / "t.h5")
    broken = api_object(list(files.payloads(some_cells[:2])))
    del broken.computed_statistics[some_cells[1][0]][108][2]["final_test_accuracy"]
    with pytest.raises(InputError, match=f"NASBench object, cell {some_cells[1][0]}: KeyError 'final_test_accuracy'"):
        import_nasbench101(broken, tmp_path / "t.h5")


def test_values_have_the_names_of_their_fields() -> None:
    assert VALUES[: len(QUANTITIES)] == tuple(f"halfway-{q}" for q in QUANTITIES)


def test_neither_torch_nor_protobuf_is_needed(tmp_path: Path, some_cells: list[Cell]) -> None:
    path = files.write_tfrecord(tmp_path / "f", files.payloads(some_cells[:3]))
    program = f"""
import sys
sys.modules.update(dict.fromkeys(["torch", "tensorflow", "google.protobuf", "nasbench"]))
from prejudge.benchmarks.importers.nasbench101.importer import import_nasbench101
import_nasbench101({str(path)!r}, {str(tmp_path / "t.h5")!r})
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert (tmp_path / "t.h5").is_file()


MEMORY = """
import sys
from prejudge.benchmarks.importers.nasbench101.importer import import_nasbench101
import_nasbench101(sys.argv[1], sys.argv[2])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_memory_of_100_000_records(tmp_path: Path) -> None:
    """All of the interpreter: what the full file's 5 million records take is extrapolated in perf/importers.py."""
    path = files.write_tfrecord(tmp_path / "f", files.payloads(cells(8_400), SCHEDULES, lines=True))
    command = [sys.executable, "-c", MEMORY, str(path), str(tmp_path / "t.h5")]
    peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024
    assert open_table(tmp_path / "t.h5").info()["provenance"]["training runs"] == str(8_400 * 12)
    assert peak < 200, f"{peak:.0f} MB"
