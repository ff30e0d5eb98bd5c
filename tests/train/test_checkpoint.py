from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.train import checkpoint
from prejudge.train.checkpoint import Checkpoint, CheckpointManager, read_checkpoint
from tests.hostile_pickles import Touch

PLAN: dict[str, Any] = {"method": "darts", "data": {"name": "digits", "seed": 3}, "betas": (0.5, 0.999), "cutout": None}


def trained(steps: int = 2, width: int = 8) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.randn(6, 4)).square().sum().backward()
        optimizer.step()
    return network, optimizer


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    network, optimizer = trained()
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": [{"loss": 0.5, "accuracies": {"valid": 91.5}}, (1, None, "text", b"bytes", True)],
        "big": 1 << 40,
    }
    keeper = CheckpointManager(tmp_path / "run" / "checkpoints", PLAN)
    assert keeper.latest() is None and keeper.best() is None and keeper.epochs() == []
    path = keeper.save(7, state)
    assert path == tmp_path / "run" / "checkpoints" / "last.pt"
    found = CheckpointManager(keeper.folder, PLAN).latest()
    assert found is not None and found.epoch == 7 and same(found.state, state)
    assert type(found.state["network"]) is type(state["network"])
    other, optimizer2 = trained(0)
    other.load_state_dict(found.state["network"])
    optimizer2.load_state_dict(found.state["optimizer"])
    assert same(dict(other.state_dict()), dict(network.state_dict()))
    assert found.plan == {**PLAN, "betas": [0.5, 0.999]}
    assert sorted(p.name for p in keeper.folder.iterdir()) == ["last.pt"]


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole, _ = trained(4)
    network, optimizer = trained(2)
    keeper = CheckpointManager(tmp_path, PLAN)
    keeper.save(2, {"n": network.state_dict(), "o": optimizer.state_dict(), "rng": torch.get_rng_state()})
    network, optimizer = trained(1)
    found = keeper.latest()
    assert found is not None
    network.load_state_dict(found.state["n"])
    optimizer.load_state_dict(found.state["o"])
    torch.set_rng_state(found.state["rng"])
    for _ in range(2):
        optimizer.zero_grad()
        network(torch.randn(6, 4)).square().sum().backward()
        optimizer.step()
    assert same(dict(network.state_dict()), dict(whole.state_dict()))


def test_kept_and_best_checkpoints(tmp_path: Path) -> None:
    keeper = CheckpointManager(tmp_path, PLAN, keep_every=3)
    for epoch in range(1, 8):
        keeper.save(epoch, {"e": epoch}, best=epoch == 4, keep=epoch == 5)
    assert keeper.epochs() == [3, 5, 6]
    assert (tmp_path / "epoch-0005.pt").is_file()
    assert [keeper.load(e).state["e"] for e in (3, 5, 6, 7)] == [3, 5, 6, 7]
    best = keeper.best()
    assert best is not None and best.epoch == 4
    with pytest.raises(MissingDataError, match=r"no checkpoint of epoch 4 \(kept: 3, 5, 6\)"):
        keeper.load(4)
    assert not list(tmp_path.glob("*.part"))


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    keeper = CheckpointManager(tmp_path, PLAN)
    keeper.save(1, {"e": torch.ones(3)}, best=True, keep=True)
    keeper.save(2, {"e": torch.zeros(3)})
    best = keeper.best()
    assert best is not None and best.state["e"].tolist() == [1, 1, 1] and keeper.epochs() == [1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "sdarts"}, 'method is "darts" there and "sdarts" here'),
        ({"data": {"name": "digits", "seed": 4}}, "data.seed is 3 there and 4 here"),
        ({"data": {"name": "digits"}}, "data.seed is 3 there and not said here"),
        ({"channels": 16}, "channels is not said there and 16 here"),
        ({"cutout": False}, "cutout is null there and false here"),
        ({"betas": [0.5, 0.9]}, r"betas is \[0.5, 0.999\] there and \[0.5, 0.9\] here"),
        ({str(i): i for i in range(5)}, "2 is not said there and 2 here and 2 more;"),
    ],
)
def test_another_plan_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    CheckpointManager(tmp_path, PLAN).save(1, {}, best=True, keep=True)
    other = CheckpointManager(tmp_path, {**PLAN, **change})
    for read in (other.latest, other.best, lambda: other.load(1), lambda: other.save(1, {})):
        with pytest.raises(InputError, match=words) as caught:
            read()
        assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    assert CheckpointManager(tmp_path, PLAN).latest() is not None


def test_equal_numbers_and_tuples_are_the_same_plan(tmp_path: Path) -> None:
    CheckpointManager(tmp_path, {"lr": 1, "betas": (0.5, 1)}).save(1, {})
    assert CheckpointManager(tmp_path, {"betas": [0.5, 1.0], "lr": 1.0}).latest() is not None


def test_long_values_are_shown_where_they_differ(tmp_path: Path) -> None:
    CheckpointManager(tmp_path, {"genotype": "sep_conv_3x3 " * 40 + "A" + " skip" * 40}).save(1, {})
    with pytest.raises(InputError, match=r"…[^…]*A skip[^…]*… there and …[^…]*B skip[^…]*… here") as caught:
        CheckpointManager(tmp_path, {"genotype": "sep_conv_3x3 " * 40 + "B" + " skip" * 40}).latest()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("plan", [{"a": Path("x")}, {"a": {1, 2}}, {"a": float("nan")}, {"a": torch.ones(1)}])
def test_a_plan_is_plain(tmp_path: Path, plan: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="plain JSON"):
        CheckpointManager(tmp_path, plan)


def test_other_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keep_every"):
        CheckpointManager(tmp_path, {}, keep_every=-1)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(InputError, match="is a file"):
        CheckpointManager(file, {})
    with pytest.raises(PrejudgeError, match="cannot make the folder"):
        CheckpointManager(file / "inside", {}).save(1, {})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Path("x"), r"state\['a'\]\[1\] is a .*Path"),
        (np.ones(2), r"state\['a'\]\[1\] is a ndarray"),
        ({1}, "is a set"),
        (torch.nn.ReLU(), "is a ReLU"),
        (torch.device("cpu"), "is a device"),
        (signal.SIGINT, "is a Signals"),
        ({Path("x"): 1}, "a key of .* is a"),
    ],
)
def test_a_state_is_plain(tmp_path: Path, value: object, words: str) -> None:
    keeper = CheckpointManager(tmp_path / "run", PLAN)
    with pytest.raises(InputError, match=words):
        keeper.save(1, {"a": [1, value]})
    assert keeper.latest() is None


def test_numpy_numbers_become_plain_and_views_are_cut_out(tmp_path: Path) -> None:
    keeper = CheckpointManager(tmp_path, PLAN)
    big = torch.arange(100_000.0)
    keeper.save(1, {"a": np.float64(1.5), "b": [np.int64(3)], "c": nn.Parameter(torch.ones(2)), "d": big[10:12]})
    found = keeper.latest()
    assert found is not None
    assert same(found.state, {"a": 1.5, "b": [3], "c": torch.ones(2), "d": torch.tensor([10.0, 11.0])})
    assert type(found.state["a"]) is float and not found.state["c"].requires_grad
    assert (tmp_path / "last.pt").stat().st_size < 10_000


def test_shared_tensors_are_saved_once(tmp_path: Path) -> None:
    big = torch.arange(100_000.0)
    path = CheckpointManager(tmp_path, PLAN).save(1, {"a": big, "b": big})
    assert path.stat().st_size < 450_000


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    network, _ = trained()
    whole = CheckpointManager(tmp_path, PLAN).save(1, {"n": network.state_dict()}).read_bytes()
    path = tmp_path / "last.pt"
    for content in [b"", b"text", whole[:1], *(whole[: i * len(whole) // 12] for i in range(1, 12)), whole[:-1]]:
        path.write_bytes(content)
        keeper = CheckpointManager(tmp_path, PLAN)
        for read in (keeper.latest, partial(read_checkpoint, path), partial(keeper.save, 1, {})):
            with pytest.raises(FileFormatError, match="not a checkpoint, or it is damaged") as caught:
                read()
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        assert path.read_bytes() == content
    for foreign, words in [
        (network.state_dict(), "not a checkpoint of prejudge"),
        ([1, 2], "not a checkpoint of prejudge"),
        ({"format": "prejudge checkpoint", "version": 2}, "of version 2, this prejudge reads version 1"),
        ({"format": "prejudge checkpoint", "version": 1, "epoch": "1", "state": {}, "plan": {}}, "without an epoch"),
        (network, "not a checkpoint, or it is damaged"),
    ]:
        torch.save(foreign, path)
        with pytest.raises(FileFormatError, match=words):
            read_checkpoint(path)
    with pytest.raises(MissingDataError, match="no checkpoint"):
        read_checkpoint(tmp_path / "nothing.pt")


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    path = CheckpointManager(tmp_path, PLAN).save(1, {"n": trained()[0].state_dict()})
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 8])):
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            assert isinstance(read_checkpoint(path), Checkpoint)
        except FileFormatError:
            continue


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    torch.save({"format": "prejudge checkpoint", "state": Touch(tmp_path / "ran")}, tmp_path / "last.pt")
    with pytest.raises(FileFormatError):
        CheckpointManager(tmp_path, PLAN).latest()
    assert not (tmp_path / "ran").exists()


def test_only_rank_0_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_rank", lambda: 1)
    assert (
        CheckpointManager(tmp_path / "run", PLAN).save(1, {"a": 1}, best=True, keep=True)
        == tmp_path / "run" / "last.pt"
    )
    assert not (tmp_path / "run").exists()


def test_the_rank_is_that_of_the_process_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkpoint._rank() == 0
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 3)
    assert checkpoint._rank() == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = CheckpointManager(tmp_path, PLAN)
    keeper.save(1, {"a": 1})

    def full(self: Path, content: object) -> int:
        with Path("/dev/full").open("wb") as file:
            return file.write(b"x" * 100_000)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(PrejudgeError, match="the disk is full"):
        keeper.save(2, {"a": 2}, best=True)
    found = keeper.latest()
    assert found is not None and found.epoch == 1 and [p.name for p in tmp_path.iterdir()] == ["last.pt"]


WRITER = """
import itertools, sys, torch
from pathlib import Path
from prejudge.train.checkpoint import CheckpointManager
keeper = CheckpointManager(Path(sys.argv[1]), {"p": 1}, keep_every=5)
found = keeper.latest()
for epoch in itertools.count(found.epoch + 1 if found else 1):
    keeper.save(epoch, {"a": torch.full((300_000,), float(epoch)), "epoch": epoch}, best=epoch % 3 == 0)
    print(epoch, flush=True)
"""


def kill_rounds(folder: Path, rounds: int) -> None:
    rng, reached = random.Random(1), 0
    for _ in range(rounds):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        said = [int(child.stdout.readline())]  # it writes now
        time.sleep(rng.uniform(0, 0.15))
        child.kill()
        said += [int(line) for line in child.stdout if line.endswith("\n")]
        child.wait()
        child.stdout.close()
        keeper = CheckpointManager(folder, {"p": 1}, keep_every=5)
        for found in [keeper.latest(), keeper.best(), *map(keeper.load, keeper.epochs())]:
            assert found is None or {found.state["epoch"], *found.state["a"].tolist()} == {found.epoch}
        last = keeper.latest()
        assert last is not None and last.epoch >= max([reached + 1, *said])
        reached = last.epoch
        assert keeper.epochs()[: reached // 5] == list(range(5, reached + 1, 5))
        best = keeper.best()
        assert reached < 3 or (best is not None and reached // 3 * 3 <= best.epoch <= reached + 1)


def test_what_a_killed_run_left_does_not_share_a_file_with_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = CheckpointManager(tmp_path, {"p": 1})
    keeper.save(1, {"a": 1}, best=True)
    (tmp_path / "last.pt.part").hardlink_to(tmp_path / "best.pt")  # killed when the best was there and the last not yet
    write = Path.write_bytes

    def killed(self: Path, content: bytes) -> int:
        write(self, bytes(content)[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        keeper.save(2, {"a": 2})
    monkeypatch.undo()
    best = keeper.best()
    assert best is not None and best.epoch == 1
    (tmp_path / "last.pt.part").hardlink_to(tmp_path / "best.pt")
    keeper.save(2, {"a": 2}, best=True)
    assert {path.name for path in tmp_path.iterdir()} == {"best.pt", "last.pt"}


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_a_killed_writer_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 2)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_a_writer_killed_often_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    kill_rounds(tmp_path, 20)


def test_keys_with_equal_hashes_do_not_take_for_ever(tmp_path: Path) -> None:
    path = CheckpointManager(tmp_path, PLAN).save(1, {})
    keys = b"".join(b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little") + b"N" for k in range(8, 60_000))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "new.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"\x80\x02}(" + keys + b"u." if name.endswith("data.pkl") else old.read(name))
    start = time.perf_counter()
    with pytest.raises(FileFormatError, match="damaged"):
        read_checkpoint(tmp_path / "new.pt")
    assert time.perf_counter() - start < 10


def test_a_changed_number_is_seen(tmp_path: Path) -> None:
    path = CheckpointManager(tmp_path, PLAN).save(1, {"a": torch.arange(1000.0)})
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(1000.0).numpy().tobytes()) + 500] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="damaged"):
        read_checkpoint(path)
