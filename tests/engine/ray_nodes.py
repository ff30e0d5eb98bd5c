"""Ray on this machine for tests: small, quiet, and in a folder of its own."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STORE_BYTES = 80 * 2**20


@contextmanager
def own_folder() -> Iterator[str]:
    """Ray's files, and its note of the running cluster, in a fresh folder. Its path is short: sockets are in there.

    Without tokens, because Ray would write one into the user's home.
    """
    settings = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_AUTH_MODE": "disabled"}
    before = {name: os.environ.get(name) for name in ("RAY_TMPDIR", "RAY_ADDRESS", *settings)}
    folder = tempfile.mkdtemp(prefix="ray")
    os.environ.update(settings, RAY_TMPDIR=folder)
    os.environ.pop("RAY_ADDRESS", None)
    try:
        yield folder
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def one_node(cpus: int) -> Iterator[Any]:
    """This process in a cluster of one node, which says that it has a GPU, too."""
    with own_folder():
        import ray

        ray.init(
            address="local",
            num_cpus=cpus,
            num_gpus=1,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
        )
        try:
            yield ray
        finally:
            ray.shutdown()


@contextmanager
def nodes(count: int) -> Iterator[Any]:
    """A :class:`ray.cluster_utils.Cluster`: a head without CPUs, and so many nodes with one CPU each, to be killed."""
    with own_folder():
        from ray.cluster_utils import Cluster

        with socket.create_server(("", 0)) as free:
            port = free.getsockname()[1]
        head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head | {"ray_client_server_port": port})
        cluster.outside = f"ray://{cluster.address.rpartition(':')[0]}:{port}"  # for programs on other machines
        try:
            for _ in range(count):
                add_node(cluster)
            yield cluster
        finally:
            cluster.shutdown()


def add_node(cluster: Any) -> Any:
    """One more node with one CPU."""
    return cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
