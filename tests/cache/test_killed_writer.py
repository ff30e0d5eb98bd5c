"""A writer is killed again and again at random moments; the cache opens every time, with everything promised."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from prejudge.cache import Protocol, ScoreCache, verify
from prejudge.formats.atomic import beside

PROTOCOLS = [Protocol("nasbench201", {"channels": c}) for c in (8, 16)]


def value_of(number: int, repeat: int) -> float:
    return number * 1.25 + repeat / 7


def write_for_ever(path: str, promises: str, start: int) -> None:
    """Put scores as fast as possible, compacting often; note each one in another file once ``put`` has returned."""
    noted = os.open(promises, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    cache = ScoreCache(path, compact_bytes=3000)
    for number in range(start, start + 1_000_000):
        protocol, repeat = PROTOCOLS[number % 2], number % 3
        value = value_of(number, repeat)
        cache.put(protocol, f"arch {number}", {"snip": value, "zen": -value}, repeat=repeat)
        os.write(noted, b"%d\n" % number)


@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_a_writer_killed_at_random_moments_never_breaks_the_file(path: Path, tmp_path: Path, kills: int) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["prejudge.cache.store", "h5py", "filelock"])
    promises = tmp_path / "promises"
    rng = np.random.default_rng(0)
    total = interrupted = 0
    for round_number in range(kills):
        before = promises.stat().st_size if promises.exists() else 0
        writer = context.Process(target=write_for_ever, args=(str(path), str(promises), total))
        writer.start()
        while writer.is_alive() and not (promises.exists() and promises.stat().st_size > before):
            time.sleep(0.001)
        time.sleep(float(rng.uniform(0, 0.06)))
        writer.kill()
        writer.join()
        assert writer.exitcode == -9
        interrupted += beside(path, ".part").exists()

        promised = {int(line) for line in promises.read_text().split()}
        cache = ScoreCache(path, "r")
        found: set[int] = set()
        for protocol in PROTOCOLS:
            names = cache.architectures(protocol) if protocol in cache.protocols() else []
            assert len(set(names)) == len(names)
            numbers = [int(name.split()[1]) for name in names]
            found |= set(numbers)
            if numbers:
                values = cache.frame(protocol)
                expected = [value_of(n, n % 3) for n in numbers]
                np.testing.assert_array_equal(values["snip"], expected)
                np.testing.assert_array_equal(values["zen"], np.negative(expected))
                assert (cache.frame(protocol, "count") == 1).all(axis=None)
        assert promised <= found and len(found - promised) <= round_number + 1  # at most the one in flight
        total = max(found) + 1
    assert total > 10 * kills
    with ScoreCache(path) as cache:
        assert sum(len(cache.frame(p)) for p in PROTOCOLS) == len(found)
    assert verify(path) == [] and not beside(path, ".part").exists() and not beside(path, ".journal").exists()
