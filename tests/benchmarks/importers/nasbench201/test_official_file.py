from __future__ import annotations

import bz2
import io
import os
import pickle
import random
import re
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prejudge.benchmarks.importers.nasbench201.official_file import (
    KINDS,
    OfficialFile,
    check_digest,
    expected_memory,
    iter_architectures,
    recognize,
)
from prejudge.errors import FileFormatError, MissingDataError
from prejudge.spaces.nasbench201.space import NASBench201
from tests.benchmarks.importers import official_files as files
from tests.hostile_pickles import Call

WRITERS: dict[str, tuple[str, Callable[[Path, Any], Path]]] = {
    "v1_0": ("v1_0", lambda folder, content: files.write_pth(folder, content, "v1_0")),
    "v1_1": ("v1_1", files.write_pth),
    "zip": ("v1_1", files.write_zip),
    "pbz2": ("nats", files.write_pbz2),
    "directory": ("nats", files.write_directory),
}
EPOCHS = {"less": "12", "full": "200", "12": "12", "200": "200"}


def read(path: Path) -> dict[int, tuple[str, dict[str, Any]]]:
    return {index: (text, results) for index, text, results in iter_architectures(recognize(path))}


def failure(path: Path, kind: type[Exception] = FileFormatError) -> str:
    with pytest.raises(kind) as caught:
        read(path)
    assert "\n" not in str(caught.value) and str(path.parent) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("writer", WRITERS)
def test_gives_what_was_written(writer: str, tmp_path: Path) -> None:
    version, write = WRITERS[writer]
    content = files.contents(6, version)
    found = read(write(tmp_path, content))
    assert list(found) == list(range(6))
    for index, info in content["arch2infos"].items():
        text, results = found[index]
        assert text == str(NASBench201()[index])
        assert results == {EPOCHS[hp]: value for hp, value in info.items()}


def plain(value: Any) -> bool:
    if type(value) is dict:
        return all(plain(k) and plain(v) for k, v in value.items())
    if type(value) in (list, tuple):
        return all(map(plain, value))
    return type(value) in (str, int, float, bool, type(None))


@pytest.mark.parametrize("writer", WRITERS)
def test_everything_is_plain(writer: str, tmp_path: Path) -> None:
    import numpy as np

    version, write = WRITERS[writer]
    content = files.contents(2, version)
    for info in content["arch2infos"].values():  # as NumPy's sum of parameters over a million gave it
        for result in info.values():
            for trial in result["all_results"].values():
                trial["params"] = np.float64(trial["params"])
    found = read(write(tmp_path, content))
    assert all(plain(results) for _, results in found.values())
    hp = "200" if version == "nats" else "full"
    assert found[1] == (found[1][0], {EPOCHS[hp]: content["arch2infos"][1][hp], "12": found[1][1]["12"]})


def test_architectures_without_results(tmp_path: Path) -> None:
    for write, version in ((files.write_pth, "v1_1"), (files.write_directory, "nats")):
        path = write(tmp_path, files.contents(5, version, omit=(1, 3)))
        found = iter_architectures(recognize(path), partial=True)
        assert [index for index, _, _ in found] == [0, 2, 4]
        assert re.search(r"lacks 2 of 5 (files|architectures) \((000001|1).*--partial", failure(path, MissingDataError))


def test_what_torch_wrote(tmp_path: Path) -> None:
    import torch

    content = files.contents(2)
    legacy, today = tmp_path / "legacy.pth", tmp_path / "today.pth"
    torch.save(content, legacy, _use_new_zipfile_serialization=False)
    torch.save(content, today)
    fabricated = tmp_path / "fabricated.pth"
    fabricated.write_bytes(files.legacy_bytes(content))
    assert torch.load(fabricated, weights_only=False) == content
    assert read(legacy) == read(today) == read(fabricated)
    content["arch2infos"][1]["full"]["all_results"]["cifar10", 777]["net_state_dict"] = {"w": torch.zeros(3)}
    for path, modern in ((legacy, False), (today, True)):
        torch.save(content, path, _use_new_zipfile_serialization=modern)
        assert "torch._utils._rebuild_tensor_v2" in failure(path)


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    path = files.write_pth(tmp_path, files.contents(1))
    code = (
        "import sys; from prejudge.benchmarks.importers.nasbench201.official_file import *;"
        f"assert len(list(iter_architectures(recognize({str(path)!r})))) == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Which file is it


def test_recognizes_the_published_names(tmp_path: Path) -> None:
    content = files.contents(1)
    path = files.write_pth(tmp_path, content)
    digest = re.search(r"-([0-9a-f]{6})\.pth", path.name)
    assert digest
    assert recognize(path) == OfficialFile(path, "nas-bench-201", "v1_1", digest[1], path.stat().st_size)
    assert recognize(str(path)).path == path
    path = files.write_zip(tmp_path, content)
    assert recognize(path) == OfficialFile(path, "nas-bench-201", "v1_1", None, path.stat().st_size)
    path = files.write_pbz2(tmp_path, files.contents(1, "nats"))
    file = recognize(path)
    assert (file.kind, file.version, len(file.digest or "")) == ("nats-bench", "v1_0", 5)
    path = files.write_directory(tmp_path, files.contents(2, "nats"))
    size = sum(f.stat().st_size for f in path.iterdir())
    assert recognize(path) == OfficialFile(path, "nats-bench-simple", "v1_0", None, size)
    renamed = tmp_path / "my copy"
    renamed.write_bytes(files.legacy_bytes(content))
    assert (recognize(renamed).version, recognize(renamed).digest) == (None, None)


def test_other_files(tmp_path: Path) -> None:
    def message(name: str, data: bytes, error: type[Exception] = FileFormatError) -> str:
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(error) as caught:
            recognize(path)
        return str(caught.value)

    with pytest.raises(MissingDataError, match=r"no file or directory .*nowhere\.pth"):
        recognize(tmp_path / "nowhere.pth")
    with pytest.raises(MissingDataError, match=r"has no meta\.pickle\.pbz2, so it is not a NATS-Bench directory"):
        recognize(tmp_path)
    packed = bz2.compress(b"x")
    size = tmp_path / "NATS-sss-v1_0-50262.pickle.pbz2"
    size.write_bytes(packed)
    assert recognize(size).space == "nats-size"
    assert f"give the directory {tmp_path}" in message("000123.pickle.pbz2", packed)
    assert f"give the directory {tmp_path}" in message("meta.pickle.pbz2", packed)
    assert "is a web page, so the download failed" in message("v.pth", b"\n<!DOCTYPE html><html>Quota exceeded")
    assert "is not a published file" in message("v.pth", b"")
    assert r"begins with b'\x89HDF'" in message("v.pth", b"\x89HDF")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("NATS-tss-v1_0-3ffb9-simple"))
    assert "is a tar archive; unpack it" in message("NATS-tss-v1_0-3ffb9-simple.tar", archive.getvalue())


def test_digest(tmp_path: Path) -> None:
    path = files.write_pth(tmp_path, files.contents(1))
    calls: list[tuple[int, int]] = []
    check_digest(recognize(path), lambda done, total: calls.append((done, total)))
    assert calls[-1] == (path.stat().st_size, path.stat().st_size)
    check_digest(recognize(files.write_pbz2(tmp_path, files.contents(1, "nats"))))  # the first digits
    check_digest(recognize(files.write_zip(tmp_path, files.contents(1))))  # no digits
    check_digest(recognize(files.write_directory(tmp_path, files.contents(1, "nats"))))
    wrong = path.rename(tmp_path / "NAS-Bench-201-v1_1-096897.pth")
    with pytest.raises(FileFormatError, match=r"its md5 is [0-9a-f]{32}, but its name says 096897; download it again"):
        check_digest(recognize(wrong))


@pytest.mark.parametrize("writer", WRITERS)
def test_progress(writer: str, tmp_path: Path) -> None:
    version, write = WRITERS[writer]
    file = recognize(write(tmp_path, files.contents(4, version)))
    calls: list[tuple[int, int]] = []
    for number, _ in enumerate(iter_architectures(file, lambda done, total: calls.append((done, total)))):
        assert len(calls) >= number
    done = [d for d, _ in calls]
    assert done == sorted(done) and calls[-1] == (file.bytes, file.bytes) and {t for _, t in calls} == {file.bytes}


def test_memory_stays_within_what_was_announced(tmp_path: Path) -> None:
    content = files.contents(24)
    paths = [files.write_pth(tmp_path, content), files.write_pbz2(tmp_path, files.contents(12, "nats"))]
    del content
    for path in paths:
        file = recognize(path)
        tracemalloc.start()
        try:
            for _ in iter_architectures(file):
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < min(expected_memory(file), 20 << 20)
    assert [expected_memory(OfficialFile(paths[0], kind, None, None, 5 << 30)) >> 20 for kind in KINDS] == [
        355,
        1276,
        48,
    ]


# Damaged, foreign and harmful files


@pytest.mark.parametrize("writer", ["v1_1", "zip", "pbz2"])
def test_truncated(writer: str, tmp_path: Path) -> None:
    version, write = WRITERS[writer]
    path = write(tmp_path, files.contents(2, version))
    data = path.read_bytes()
    for share in (0.01, 0.3, 0.7, 0.999):
        path.write_bytes(data[: int(len(data) * share)])
        message = failure(path)
        assert "truncated" in message and (writer == "zip" or re.search(r"byte \d+", message)), message
    if writer == "v1_1":
        path.write_bytes(data[:-4])  # within the list of tensors, after the results
        assert "truncated" in failure(path)


def test_a_damaged_compressed_file(tmp_path: Path) -> None:
    path = files.write_pbz2(tmp_path, files.contents(2, "nats"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    assert "cannot be read beyond byte" in failure(path)
    path = files.write_zip(tmp_path, files.contents(1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # a digit of a number, which only the checksum sees
    path.write_bytes(data)
    assert "cannot be read" in failure(path) and "CRC" in failure(path)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("place", ["before", "in a trial", "after"])
def test_nothing_in_a_file_is_run(writer: str, place: str, tmp_path: Path) -> None:
    version, write = WRITERS[writer]
    content, marker = files.contents(2, version), tmp_path / "marker"
    evil = Call(os.system, f"touch {marker}")
    if place == "in a trial":
        next(iter(content["arch2infos"][1].values()))["all_results"]["cifar10-valid", 777]["net_state_dict"] = Call(
            os.system, f"touch {marker}"
        )
    elif place == "before":
        content = {"first": evil, **content}
    else:
        content["last"] = evil
    folder = tmp_path / "files"
    folder.mkdir()
    path = write(folder, content)
    assert not marker.exists()
    with pytest.raises(FileFormatError, match=rf"byte \d+ names {os.system.__module__}\.system, which may run code"):
        read(path)
    assert not marker.exists()
    stored = path / "000001.pickle.pbz2" if path.is_dir() else path
    if writer == "v1_1":  # Python's own machine would have run it
        with stored.open("rb") as stream:
            for _ in range(4):
                pickle.load(stream)
        assert marker.exists()


def test_missing_parts_of_a_directory(tmp_path: Path) -> None:
    path = files.write_directory(tmp_path, files.contents(6, "nats", omit=(1, 3, 4, 5)))
    message = failure(path, MissingDataError)
    assert "lacks 4 of 6 files (000001.pickle.pbz2, 000003.pickle.pbz2, 000004.pickle.pbz2, …)" in message
    (tmp_path / "two").mkdir()
    path = files.write_directory(tmp_path / "two", files.contents(2, "nats"))
    (path / "000000.pickle.pbz2").rename(path / "000001.pickle.pbz2")
    assert "lacks 1 of 2 files (000000.pickle.pbz2)" in failure(path, MissingDataError)
    (path / "000000.pickle.pbz2").write_bytes((path / "000001.pickle.pbz2").read_bytes())
    assert "000001.pickle.pbz2: the results are of another architecture than meta" in failure(path)
    (path / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps([])))
    assert "has no meta_archs" in failure(path)


def changed(change: Callable[[Any], Any]) -> bytes:
    content = files.contents(2)
    result = change(content)
    return files.legacy_bytes(content if result is None else result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("arch2infos") and None, "has no arch2infos"),
        (lambda c: [1, 2], "has no arch2infos"),
        (lambda c: c.update(arch2infos=None), "has no arch2infos"),
        (lambda c: c.pop("meta_archs") and None, "has no meta_archs"),
        (lambda c: c.update(meta_archs=[1, 2]), "has no meta_archs"),
        (lambda c: c["meta_archs"].reverse(), "the results of architecture 0 are of another one, '|avg_pool"),
        (lambda c: c["meta_archs"].pop() and None, "the results of architecture 1 are of another one"),
        (lambda c: c["evaluated_indexes"].append(7), "its evaluated_indexes are others"),
        (lambda c: c["arch2infos"].update({"a": {"less": {}}}), "an entry that is not an architecture's results"),
        (lambda c: c["arch2infos"].update({2: 5}), "an entry that is not an architecture's results"),
        (lambda c: c["arch2infos"].update({-1: {"less": {}}}), "an entry that is not an architecture's results"),
        (lambda c: c["arch2infos"][1].update({"90": {}}), "the schedule '90' instead of 12 and 200 epochs"),
        (lambda c: c["arch2infos"][1].update({"full": {}}), "architecture 1 are not those of ArchResults"),
        (lambda c: c["arch2infos"][1]["full"].update(arch_str=3), "architecture 1 are not those of ArchResults"),
        (lambda c: c["arch2infos"][1]["full"].update(arch_str="other"), "architecture 1 are of two architectures"),
        (lambda c: c["arch2infos"][1]["full"]["all_results"].update({"x": {}}), "a trial that is not of"),
        (lambda c: c["arch2infos"][0].update(full=c["arch2infos"][0]["less"]), ""),
        (lambda c: c["arch2infos"][1].update(full=c["arch2infos"][0]["full"]), "refers to memo entry"),
    ],
)  # fmt: skip
def test_foreign_contents(change: Callable[[Any], Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "NAS-Bench-201-v1_1.pth"
    path.write_bytes(changed(change))
    if message:
        assert message in failure(path)
    else:  # shared within one architecture
        assert len(read(path)) == 2


def test_the_same_architecture_twice(tmp_path: Path) -> None:
    class Twice:
        def __reduce__(self) -> Any:
            infos = [files.contents(1)["arch2infos"][0] for _ in range(2)]
            return OrderedDict, (), None, None, iter([(0, info) for info in infos])

    path = tmp_path / "twice.pth"
    path.write_bytes(files.legacy_bytes({**files.contents(1), "arch2infos": Twice()}))
    assert "holds architecture 0 twice" in failure(path)


def test_other_torch_files_and_archives(tmp_path: Path) -> None:
    path = tmp_path / "v.pth"
    path.write_bytes(files.legacy_bytes(files.contents(1)).replace(b"M\xe9\x03.", b"M\xe8\x03."))
    assert "a torch file of an unknown version" in failure(path)
    path.write_bytes(files.legacy_bytes(files.contents(1))[: -len(pickle.dumps([], 2))] + pickle.dumps(["1"], 2))
    assert "holds tensors" in failure(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/constants.pkl", b"")
    assert "is a zip archive, but no torch file" in failure(path)
    path.write_bytes(b"PK\x03\x04 nothing else")
    assert "is not a zip archive, or it is truncated or damaged" in failure(path)


@pytest.mark.parametrize("writer", ["v1_1", "zip"])
def test_any_damage_is_one_line(writer: str, tmp_path: Path) -> None:
    version, write = WRITERS[writer]
    path = write(tmp_path, files.contents(2, version))
    data, rng = path.read_bytes(), random.Random(5)
    for trial in range(40):
        broken = bytearray(data)
        for _ in range(1 + trial % 3):
            broken[rng.choice([rng.randrange(len(data)), rng.randrange(3000)])] = rng.randrange(256)
        path.write_bytes(broken)
        try:
            read(path)
        except FileFormatError as error:
            assert "\n" not in str(error)
