"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("prejudge", deadline=None)  # the first example also pays for what is imported
settings.load_profile("prejudge")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data and golden figures; the test is skipped where there is none."""
    folder = os.environ.get("PREJUDGE_TEST_DATA")
    if not folder:
        pytest.skip("PREJUDGE_TEST_DATA is not set (the folder with real data and golden figures)")
    if not Path(folder).is_dir():
        pytest.skip(f"PREJUDGE_TEST_DATA={folder} is not a folder")
    return Path(folder)


@pytest.fixture(scope="session")
def golden(test_data: Path) -> Path:
    """The figures of the original implementations."""
    return test_data / "golden"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a CUDA device where there is none; torch is asked only if such a test was collected."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch with one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
