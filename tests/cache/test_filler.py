from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from prejudge.cache import ScoreCache, fill, verify
from prejudge.data.dataset import ImageDataset
from prejudge.errors import InputError, PrejudgeError
from prejudge.proxies import registry, scoring
from prejudge.proxies.registry import Proxy, get, resolve
from prejudge.proxies.score import Score
from prejudge.spaces import space

NB201 = space("nasbench201")
SMALL: dict[str, Any] = {"macro": {"channels": 2, "cells": 1}, "batch_size": 8}
ARCHS = [NB201[i] for i in (3, 1, 4, 15, 9, 2)]


Fake = Callable[..., dict[str, Score]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replaces the scoring by a fast stand-in; what it is called with."""
    seen: list[dict[str, Any]] = []

    def score_repeats(
        networks: Any, inputs: Any, targets: Any, proxies: Any, *, seeds: Any, **options: Any
    ) -> list[dict[str, Score]]:
        columns, scores = [str(p) for p in proxies], []
        for network, x, y, seed in zip(networks, inputs, targets, seeds, strict=True):
            weights = float(sum(p.detach().double().abs().sum() for p in network.parameters()))
            seen.append({"weights": weights, "inputs": x, "targets": y, "columns": columns, "seed": seed, **options})
            scores.append({c: Score(weights + i, seconds=0.1) for i, c in enumerate(columns)})
        return scores

    monkeypatch.setattr(scoring, "score_repeats", score_repeats)
    return seen


def test_digits_have_columns_of_their_own_and_change_no_score(path: Path, data: ImageDataset) -> None:
    names = ["snip", "naswot"]
    with ScoreCache(path) as cache:
        protocol = fill(cache, NB201, ARCHS[:2], data, names, **SMALL)
        plain = cache.frame()
        assert fill(cache, NB201, ARCHS[:3], data, names, digits=True, **SMALL) == protocol
        assert len(cache.runs()) == 2
        fill(cache, NB201, ARCHS[:3], data, names, digits=True, **SMALL)
        assert len(cache.runs()) == 2  # all are there
    with ScoreCache(path, "r") as cache:
        frame = cache.frame()
        assert list(frame.columns) == ["snip", "naswot", "snip:digits", "naswot:digits"]
        pd.testing.assert_frame_equal(frame.loc[plain.index, names], plain)
        assert (frame["snip:digits"] > 2).all() and (frame["snip:digits"] <= 7).all()
        lost = frame["naswot"].isna()
        assert (frame["naswot:digits"].isna() == lost).all()  # a failed score has no digits, and says why it failed
        assert cache.column_info("snip:digits")["digits_of"] == "snip"


def test_only_what_is_missing_is_computed(path: Path, data: ImageDataset, calls: list[dict[str, Any]]) -> None:
    with ScoreCache(path) as cache:
        first = fill(cache, NB201, ARCHS[:3], data, ["snip", "zen(images=32)"], **SMALL)
        assert [c["columns"] for c in calls] == [["snip", "zen(images=32)"]] * 3
        fill(cache, NB201, ARCHS[:3], data, ["snip"], **SMALL)
        assert len(calls) == 3 and len(cache.runs()) == 1  # nothing to do, so no run is noted
        assert fill(cache, NB201, ARCHS[:4], data, ["snip", "synflow"], **SMALL) == first
        assert [c["columns"] for c in calls[3:]] == [["synflow"]] * 3 + [["snip", "synflow"]]
        fill(cache, NB201, ARCHS[:1], data, ["snip"], **{**SMALL, "batch_size": 4})
        assert len(calls) == 8 and len(cache.protocols()) == 2
        fill(cache, NB201, [str(a) for a in ARCHS[:4]], data, ["snip"], repeats=2, **SMALL)
        assert len(calls) == 12
        assert cache.frame(first, "count")["snip"].to_dict() == {str(a): 2.0 for a in ARCHS[:4]}
    assert verify(path) == []


def test_the_protocol_says_everything(path: Path, data: ImageDataset, calls: list[dict[str, Any]]) -> None:
    with ScoreCache(path) as cache:
        p = fill(cache, NB201, ARCHS[:1], data, ["snip"], seed=5, mode="fast", augment=True, device="cpu", **SMALL)
    assert dict(p.macro) == {
        "channels": 2, "cells": 1, "num_classes": 10, "in_channels": 1, "stages": 3, "stem": True, "form": "official"
    }  # fmt: skip
    assert (p.space, p.data, p.data_digest, p.image_size) == ("nasbench201", "digit-like", data.digest, 8)
    assert (p.batch_size, p.batch, p.augment, p.mode, p.seed) == (8, "fixed", True, "fast", 5)
    assert (p.mean, p.std) == ((0.4,), (0.2,))
    assert calls[0]["mode"] == "fast" and calls[0]["device"] == "cpu" and calls[0]["seed"] == 5
    run = ScoreCache(path, "r").runs()[0]
    assert run["torch"] == torch.__version__ and run["device"] == "cpu" and run["threads"] == torch.get_num_threads()
    assert {"numpy", "python", "prejudge", "date", "workers", "machine", "first batch"} <= set(run)


def test_seeds_fix_weights_and_batch_and_leave_the_caller_alone(
    path: Path, data: ImageDataset, calls: list[dict[str, Any]]
) -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    with ScoreCache(path) as cache:
        fill(cache, NB201, ARCHS[:2], data, ["snip"], repeats=2, **SMALL)
        fill(cache, NB201, ARCHS[:2], data, ["zen"], seed=1, **SMALL)
    assert torch.equal(torch.rand(3), expected)
    a0, b0, a1, b1, a_seed1, b_seed1 = calls
    assert a0["weights"] != a1["weights"] and (a0["seed"], a1["seed"]) == (0, 1)
    assert torch.equal(a0["inputs"], b0["inputs"]) and torch.equal(a1["inputs"], b1["inputs"])  # fixed batch
    assert not torch.equal(a0["inputs"], a1["inputs"])
    # repeat 1 of seed 0 is repeat 0 of seed 1: seed + repeat is all that counts
    assert (a_seed1["weights"], b_seed1["weights"]) == (a1["weights"], b1["weights"])
    assert torch.equal(a_seed1["inputs"], a1["inputs"])
    reference = NB201.network(ARCHS[0], **SMALL["macro"], in_channels=1)
    torch.manual_seed(0)
    reference = NB201.network(ARCHS[0], **SMALL["macro"], in_channels=1)
    assert a0["weights"] == float(sum(p.detach().double().abs().sum() for p in reference.parameters()))


def test_a_batch_for_each_architecture(
    path: Path, data: ImageDataset, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    with ScoreCache(path) as cache:
        fill(cache, NB201, ARCHS[:3], data, ["snip"], batch="per-architecture", **SMALL)
    with ScoreCache(tmp_path / "reversed.h5") as cache:
        fill(cache, NB201, ARCHS[2::-1], data, ["snip"], batch="per-architecture", **SMALL)
    inputs = [c["inputs"] for c in calls]
    assert not torch.equal(inputs[0], inputs[1]) and not torch.equal(inputs[1], inputs[2])
    for before, after in zip(inputs[:3], inputs[:2:-1], strict=True):  # whatever the order
        assert torch.equal(before, after)


def test_one_failure_costs_nothing_else(path: Path, data: ImageDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    built = NB201.network

    def network(arch: Any, **macro: Any) -> Any:
        if arch == ARCHS[1]:
            raise RuntimeError("no room\nfor it")
        return built(arch, **macro)

    def score_repeats(networks: Any, inputs: Any, targets: Any, proxies: Any, **options: Any) -> list[dict[str, Score]]:
        if networks[0].cells[0].edges == ARCHS[2].edges:
            raise MemoryError("out of memory")
        return [{str(p): Score.failed("dead") if str(p) == "zen" else Score(1.0) for p in proxies[:2]}]

    monkeypatch.setattr(NB201, "network", network)
    monkeypatch.setattr(scoring, "score_repeats", score_repeats)
    with ScoreCache(path) as cache:
        fill(cache, NB201, ARCHS[:4], data, ["snip", "zen", "synflow"], **SMALL)
        assert cache.frame()["snip"].tolist()[::3] == [1.0, 1.0]
        reasons = cache.failures().groupby("architecture").reason.apply(list)
        assert reasons[str(ARCHS[1])] == ["RuntimeError: no room for it"] * 3
        assert reasons[str(ARCHS[2])] == ["MemoryError: out of memory"] * 3
        assert reasons[str(ARCHS[0])] == ["dead", "the scoring gave no value"]
        monkeypatch.undo()
        fill(cache, NB201, ARCHS[:4], data, ["snip"], **SMALL)
        assert cache.frame()["snip"].count() == 2  # a failure is a result
        fill(cache, NB201, ARCHS[:4], data, ["snip"], retry_failed=True, **SMALL)
        assert cache.frame()["snip"].count() == 4


def test_classes_are_scored_once_where_a_proxy_allows_it(
    path: Path, data: ImageDataset, calls: list[dict[str, Any]]
) -> None:
    sizes = np.bincount(NB201.class_of, minlength=len(NB201))  # type: ignore[attr-defined]
    members = np.flatnonzero(NB201.class_of == np.flatnonzero(sizes == 4)[0])  # type: ignore[attr-defined]
    single = int(np.flatnonzero(sizes == 1)[0])
    archs = [NB201[i] for i in (*members[1:], single)]  # without the representative
    with ScoreCache(path) as cache:
        fill(cache, NB201, archs, data, ["snip", "params"], share_classes=True, **SMALL)
        scored = cache.frame(repeat="count")
        expanded = cache.frame(space=NB201, expand=True)
        computed = len(calls)
        fill(cache, NB201, archs, data, ["snip", "params"], share_classes=True, **SMALL)
        assert len(calls) == computed == 5
    representative = str(NB201[members[0]])
    assert scored["snip"].to_dict() == {
        **{str(a): 0.0 for a in archs[:-1]}, str(archs[-1]): 1.0, representative: 1.0
    }  # fmt: skip
    assert scored["params"].to_dict() == {**{str(a): 1.0 for a in archs}, representative: 0.0}
    rows = expanded.loc[[str(NB201[i]) for i in members]]
    assert rows["snip"].nunique() == 1 and rows["snip"].notna().all()
    assert rows["params"].isna().tolist() == [True, False, False, False]


def test_progress_and_repeat_order(path: Path, data: ImageDataset, calls: list[dict[str, Any]]) -> None:
    told: list[tuple[int, int, float]] = []
    with ScoreCache(path) as cache:
        fill(cache, NB201, ARCHS[:3], data, ["snip"], repeats=2, progress=lambda *p: told.append(p), **SMALL)
    assert [t[:2] for t in told] == [(i, 6) for i in range(1, 7)]
    assert all(0 <= a[2] <= b[2] for a, b in pairwise(told))
    assert [c["seed"] for c in calls] == [0, 0, 0, 1, 1, 1]  # an interrupted run has repeat 0 of as many as possible


def test_repeats_that_run_at_once_have_their_own_seeds_and_batches(
    path: Path, data: ImageDataset, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    told: list[int] = []
    with ScoreCache(path) as cache:
        fill(cache, NB201, ARCHS[:2], data, ["snip"], repeats=5, **SMALL)
        frames = [cache.frame(repeat=r) for r in range(5)]
    one_by_one, calls[:] = list(calls), []
    with ScoreCache(tmp_path / "at once.h5") as cache:
        fill(cache, NB201, ARCHS[:2], data, ["snip"], repeats=2, repeats_at_once=2, **SMALL)
        fill(
            cache, NB201, ARCHS[:2], data, ["snip"], repeats=5, repeats_at_once=3,
            progress=lambda *p: told.append(p[0]), **SMALL,
        )  # fmt: skip
        assert [run.get("repeats at once") for run in cache.runs()] == [2, 3]
        for r, frame in enumerate(frames):
            pd.testing.assert_frame_equal(cache.frame(repeat=r), frame, check_exact=True)
    assert told == [1, 2, 3, 4, 5, 6]  # a row each
    # What is missing runs in the groups of a whole run: repeats 0 to 2 of all, then 3 and 4 of all.
    assert [c["seed"] for c in calls] == [0, 1, 0, 1, 2, 2, 3, 4, 3, 4]
    for call in calls:
        same = [
            c for c in one_by_one if c["seed"] == call["seed"] and c["weights"] == call["weights"]
        ]  # fmt: skip
        assert len(same) == 1 and torch.equal(same[0]["inputs"], call["inputs"])


def test_repeats_at_once_lack_the_same_columns(path: Path, data: ImageDataset, calls: list[dict[str, Any]]) -> None:
    with ScoreCache(path) as cache:
        fill(cache, NB201, ARCHS[:1], data, ["snip"], **SMALL)
        calls.clear()
        fill(cache, NB201, ARCHS[:1], data, ["snip", "zen"], repeats=3, repeats_at_once=3, **SMALL)
        assert [(c["seed"], c["columns"]) for c in calls] == [(0, ["zen"]), (1, ["snip", "zen"]), (2, ["snip", "zen"])]


def test_repeats_at_once_give_the_same_rows(tmp_path: Path, data: ImageDataset) -> None:
    proxies = ["snip", "naswot", "zen", "synflow", "ntk_trace", "params"]
    caches = []
    for at_once in (1, 2, 3):
        with ScoreCache(tmp_path / f"{at_once}.h5") as cache:
            fill(cache, NB201, ARCHS[:3], data, proxies, repeats=3, repeats_at_once=at_once, device="cpu", **SMALL)
            caches.append([cache.frame(repeat=r).sort_index() for r in range(3)])
        assert verify(tmp_path / f"{at_once}.h5") == []
    for frames in caches[1:]:
        for expected, found in zip(caches[0], frames, strict=True):
            # In networks so small, rounding alone turns single ReLUs, which shows in the third digit; another seed
            # or batch shows in the first. tests/proxies compares in float64.
            pd.testing.assert_frame_equal(found, expected, rtol=2e-2)
            np.testing.assert_allclose(found["synflow"], expected["synflow"], rtol=1e-12)
    assert (caches[0][0]["snip"] / caches[0][1]["snip"] - 1).abs().min() > 0.1


def test_one_repeat_that_fails_costs_the_others_nothing(
    path: Path, data: ImageDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scoring.score_repeats

    def score_repeats(networks: Any, *rest: Any, seeds: Any, **options: Any) -> list[dict[str, Score]]:
        if 1 in seeds:
            raise RuntimeError("not this one")
        return real(networks, *rest, seeds=seeds, **options)

    monkeypatch.setattr(scoring, "score_repeats", score_repeats)
    with ScoreCache(path) as cache:
        fill(cache, NB201, ARCHS[:1], data, ["snip"], repeats=3, repeats_at_once=3, **SMALL)
        assert cache.failures()[["repeat", "reason"]].to_numpy().tolist() == [[1, "RuntimeError: not this one"]]
        assert cache.frame(repeat="count")["snip"].tolist() == [2.0]


def test_an_interrupted_fill_is_resumed(path: Path, data: ImageDataset, calls: list[dict[str, Any]]) -> None:
    def stop(done: int, total: int, seconds: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ScoreCache(path) as cache:
        fill(cache, NB201, ARCHS, data, ["snip"], progress=stop, **SMALL)
    with ScoreCache(path) as cache:
        assert len(cache.frame()) == 2
        fill(cache, NB201, ARCHS, data, ["snip"], **SMALL)
        assert len(calls) == len(ARCHS) and len(cache.frame()) == len(ARCHS)


def test_a_changed_proxy_is_computed_anew(
    path: Path, data: ImageDataset, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScoreCache(path) as cache:
        fill(cache, NB201, ARCHS[:2], data, ["snip", "zen"], **SMALL)
        info = cache.column_info("snip")
        assert info["needs_labels"] and info["reference"] and info["version"] == get("snip").version
        changed = Proxy(**{**vars(get("snip")), "version": 77})
        monkeypatch.setitem(registry.register.items, "snip", changed)
        with pytest.warns(
            UserWarning, match="snip was version . and is now version 77; its 2 earlier scores are dropped"
        ):
            fill(cache, NB201, ARCHS[:2], data, ["snip", "zen"], **SMALL)
        assert [c["columns"] for c in calls[2:]] == [["snip"], ["snip"]]
        assert cache.column_info("snip")["version"] == 77


def test_bad_requests_cost_nothing(path: Path, data: ImageDataset) -> None:
    bad: list[tuple[str, dict[str, Any]]] = [
        ("unknown proxy 'snipp'; did you mean 'snip'", {"proxies": ["snipp"]}),
        ("no proxy requested", {"proxies": []}),
        ("unknown nasbench201 macro field 'chanels'", {"macro": {"chanels": 4}}),
        ("channels must be a positive integer", {"macro": {"channels": 0}}),
        ("in_channels=3 does not fit", {"macro": {"in_channels": 3}}),
        ("num_classes=5 is too few", {"macro": {"num_classes": 5}}),
        ("41", {"batch_size": 41}),
        ("batch_size must be a positive integer, not 0", {"batch_size": 0}),
        ("seed must be an integer of at least 0, not -1", {"seed": -1}),
        ("repeats must be a positive integer, not 1.5", {"repeats": 1.5}),
        ("repeats_at_once must be a positive integer, not True", {"repeats_at_once": True}),
        ("workers must be a positive integer, not nan", {"workers": float("nan")}),
        ("unknown batch 'all'", {"batch": "all"}),
        ("unknown mode 'quick'", {"mode": "quick"}),
        ("no device 'cuda:77' here", {"device": "cuda:77"}),
        ("no device 'gpu' here", {"device": "gpu"}),
        ("'|none~0|' has 1 node groups", {"archs": ["|none~0|"]}),
    ]
    with ScoreCache(path) as cache:
        for message, change in bad:
            options = {**SMALL, "archs": ARCHS[:1], "proxies": ["snip"], **change}
            with pytest.raises(InputError) as error:
                fill(cache, NB201, options.pop("archs"), data, options.pop("proxies"), **options)
            assert message in str(error.value) and "\n" not in str(error.value)
            assert all(cache.frame(p).empty for p in cache.protocols())
        needs_two = next((str(r) for r in resolve(["ntk_condition"]) if r.proxy.min_batch > 1), None)
        if needs_two is not None:
            with pytest.raises(InputError, match="needs a batch of at least"):
                fill(cache, NB201, ARCHS[:1], data, [needs_two], **{**SMALL, "batch_size": 1})


def test_workers_give_the_same_scores(tmp_path: Path, data: ImageDataset) -> None:
    """With equal threads per worker, to the last bit."""
    proxies = ["snip", "synflow", "naswot", "zen", "params", "flops", "l2_norm"]
    threads = torch.get_num_threads()
    frames, failures = [], []
    for workers in (1, 2):
        torch.set_num_threads(workers)  # one for each
        try:
            with ScoreCache(tmp_path / f"{workers}.h5") as cache:
                fill(cache, NB201, ARCHS, data, proxies, workers=workers, repeats=2, **SMALL)
                assert cache.runs()[0]["threads"] == 1 and cache.runs()[0]["workers"] == workers
                frames.append(cache.frame().sort_index())
                failures.append(cache.failures().sort_values(["architecture", "proxy", "repeat"], ignore_index=True))
        finally:
            torch.set_num_threads(threads)
    pd.testing.assert_frame_equal(frames[0], frames[1], check_exact=True)
    pd.testing.assert_frame_equal(failures[0], failures[1])
    params = frames[0]["params"]
    for arch in ARCHS:
        assert params[str(arch)] == NB201.params(arch, **SMALL["macro"], in_channels=1)


def test_proxies_from_a_file_reach_the_workers(
    path: Path, data: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the file registers is forgotten again.
    monkeypatch.setattr(registry.register, "items", dict(registry.register.items))
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            import os, signal
            from prejudge.proxies.registry import proxy

            @proxy("my_batch", reference="mine", version=3)
            def my_batch(probe, scale=1.0):
                "Sum of the images."
                return scale * float(probe.inputs.sum())

            @proxy("my_death", reference="mine")
            def my_death(probe):
                "Kills its process."
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )
    )
    with ScoreCache(path) as cache:
        mine = f"{tmp_path / 'mine.py'}:my_batch"
        fill(cache, NB201, ARCHS[:3], data, [mine, f"{mine}(scale=2.0)"], workers=2, **SMALL)
        assert cache.columns() == ["my_batch", "my_batch(scale=2.0)"]
        frame = cache.frame()
        np.testing.assert_allclose(frame["my_batch(scale=2.0)"], 2 * frame["my_batch"])
        assert frame["my_batch"].notna().all() and cache.column_info("my_batch")["version"] == 3
        with pytest.raises(
            PrejudgeError, match=r"killed by signal 9 .*while it ran .* \(repeat 0\); finished results are"
        ):
            fill(cache, NB201, ARCHS[:3], data, [f"{tmp_path / 'mine.py'}:my_death"], workers=2, **SMALL)
    assert ScoreCache(path, "r").frame()["my_batch"].count() == 3 and verify(path) == []


def test_ctrl_c_leaves_a_state_to_resume_from(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import prejudge
            from prejudge.data.loading import load

            if __name__ == "__main__":
                space = prejudge.space("nasbench201")
                with prejudge.ScoreCache({str(path)!r}) as cache:
                    prejudge.fill(
                        cache, space, list(space)[:3000], load("digits"), ["naswot", "params"], workers=2, batch_size=8,
                        macro=dict(channels=2, cells=1), progress=lambda *p: print(*p, flush=True),
                    )
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("5 "):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=200)
    assert process.returncode != 0 and err.count("Traceback") == 1 and "KeyboardInterrupt" in err
    done = max([5, *(int(line.split()[0]) for line in out.splitlines())])
    # Lines that were read ahead of the fifth are lost, so there may be more rows than the lines say.
    assert done <= len(ScoreCache(path, "r").frame()) < 3000
    assert verify(path) == [] and sorted(p.name for p in tmp_path.iterdir()) == [
        "scores.h5",
        "scores.h5.lock",
        "script.py",
    ]
