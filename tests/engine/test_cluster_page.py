"""The scripts of the page on clusters run, with what SLURM would set and stand-ins for its programs."""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from prejudge import cli
from tests.caches import frame
from tests.engine.ray_nodes import STORE_BYTES, own_folder

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
SCRIPTS = dict(re.findall(r'^```bash title="([^"]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
PROGRAMS = {
    "prejudge": f'exec "{sys.executable}" -m prejudge "$@"',
    "ray": f'exec "{sys.executable}" -m ray.scripts.scripts "$@"',
    "scontrol": "echo 127.0.0.1",
    "srun": 'exec "$@"',
}
SMALL = {"digits --": "digits --channels 4 --cells 1 --batch-size 8 --"}


def script(name: str, folder: Path, **changes: str) -> Path:
    text = SCRIPTS[name]
    for old, new in {**SMALL, **changes}.items():
        assert old in text or old in SMALL
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture
def programs(tmp_path: Path) -> str:
    """A search path on which the programs of the scripts are these ones."""
    place = tmp_path / "bin"
    place.mkdir()
    for name, line in PROGRAMS.items():
        (place / name).write_text(f"#!/bin/bash\n{line}\n")
        (place / name).chmod(stat.S_IRWXU)
    return f"{place}{os.pathsep}{os.environ['PATH']}"


def run(path: Path, **environment: str) -> None:
    settings = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2]), **environment}
    found = subprocess.run(
        ["bash", str(path)], cwd=path.parent, env=settings, capture_output=True, text=True, timeout=500
    )
    assert found.returncode == 0, found.stderr


def whole(folder: Path) -> pd.DataFrame:
    words = "score nasbench201 --data digits --channels 4 --cells 1 --batch-size 8 --archs random:5 --threads 1"
    assert cli.run([*words.split(), "--proxies", "synflow,naswot,ntk_trace", "--out", str(folder / "whole.h5")]) == 0
    return frame(folder / "whole.h5")


@pytest.mark.timeout(600)
@pytest.mark.cluster
def test_the_array_and_the_merge(tmp_path: Path, programs: str) -> None:
    array = script("score-array.sh", tmp_path)
    for task in ("1", "2"):
        run(array, PATH=programs, ARCHS="random:5", SLURM_ARRAY_TASK_ID=task, PARTS="2")
    run(script("merge.sh", tmp_path), PATH=programs)
    assert len(list((tmp_path / "parts").glob("*.h5"))) == 2
    pd.testing.assert_frame_equal(frame(tmp_path / "scores.h5"), whole(tmp_path), check_exact=True)


@pytest.mark.timeout(600)
@pytest.mark.cluster
def test_the_ray_job(tmp_path: Path, programs: str) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'prejudge[ray]'")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    small = "-- \\\n    prejudge"
    changes = {"6379": port, small: f"--num-cpus 1 --object-store-memory {STORE_BYTES} {small}"}
    (tmp_path / "token").write_text(secrets.token_hex(32))
    with own_folder():
        run(
            script("ray-job.sh", tmp_path, **changes), RAY_AUTH_TOKEN_PATH=str(tmp_path / "token"),
            PATH=programs, ARCHS="random:5", SLURM_JOB_NODELIST="one", SLURM_JOB_NUM_NODES="1",
        )  # fmt: skip
    pd.testing.assert_frame_equal(frame(tmp_path / "scores.h5"), whole(tmp_path), check_exact=True)
