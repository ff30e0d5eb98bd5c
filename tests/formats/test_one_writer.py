"""Everything that prejudge writes goes through one module, and the named journals: read off the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import prejudge

ROOT = Path(prejudge.__file__).parent

ALLOWED = {
    "formats/atomic.py": "the one that replaces files",
    "cli/stopping.py": "standard streams that nobody reads",
    "search/finished.py": "a journal goes when all that it holds is in the result",
    "cli/__init__.py": "standard streams that were closed",
    "formats/hdf5.py": "HDF5 into the file that atomic gives",
    "formats/lock.py": "the number of the process that holds a lock",
    "engine/journal.py": "journals are appended to",
    "train/training_log.py": "the log of a training is appended to, and TensorBoard's is TensorBoard's",
    "train/checkpoint.py": "a checkpoint into the file that atomic gives",
    "cache/store.py": "a copy of a damaged journal, for whoever wants to look at it",
    "pipeline/run_folder.py": "results of other arguments are moved aside",
}
WRITING = {
    "write_text", "write_bytes", "savez", "savez_compressed", "savetxt", "tofile", "to_hdf", "to_pickle",
    "to_excel", "save_file", "copyfile", "copy2", "copytree", "rename", "renames", "replace_by_copy",
    "extractall", "unpack_archive", "mkstemp", "NamedTemporaryFile", "symlink", "symlink_to", "hardlink_to",
    "link", "truncate", "ftruncate", "touch", "SummaryWriter", "mkdir", "makedirs", "unlink", "rmtree", "rmdir",
    "mknod", "mkfifo",
}  # fmt: skip
"""Names of functions and methods that change the disk, whatever they are called on."""

IN_MEMORY = {"savefig", "save", "to_csv", "to_parquet", "to_json", "dump", "savez"}
"""Those that may also write into memory, which the name of their target must say."""

BUFFERS = {"buffer", "content", "picture", "memory", "tensors", "stream"}
MODES = {"w", "a", "x", "r+", "w-", "wb", "ab", "xb", "r+b", "w+b", "w+"}


def writes(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of every call that may change the disk."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        opens = name in ("open", "fdopen", "ZipFile", "File") and any(
            (isinstance(a, ast.Constant) and a.value in MODES) or re.search("O_WRONLY|O_RDWR|O_CREAT", ast.dump(a))
            for a in arguments
        )
        saves = (
            name in IN_MEMORY and bool(node.args) and not re.search("checkpoints|within_epoch", ast.unparse(node.func))
        )
        in_memory = any(isinstance(a, ast.Name) and a.id in BUFFERS for a in arguments)
        if name in WRITING - IN_MEMORY or ((opens or saves) and not in_memory):
            yield node.lineno, name


@pytest.mark.parametrize(
    "line",
    [
        "open('f', 'w')", "Path(f).open('ab')", "path.write_text('')", "np.savez(path, x)", "frame.to_csv(path)",
        "os.fdopen(3, 'w')", "h5py.File(path, 'w')", "torch.save(x, path)", "shutil.copyfile(a, b)",
        "ZipFile(p, mode='w')", "os.open(p, os.O_WRONLY)", "figure.savefig(path)", "json.dump(x, file)",
    ],
)  # fmt: skip
def test_the_search_finds_what_writes(line: str) -> None:
    assert list(writes(line))


def test_what_reads_is_not_found() -> None:
    assert not list(writes("open('f'); frame.to_csv(index=False); np.load(p); h5py.File(memory, 'w'); zip.open(name)"))


def test_nothing_else_writes() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}:{line} {name}"
        for path in ROOT.rglob("*.py")
        if path.relative_to(ROOT).as_posix() not in ALLOWED
        for line, name in writes(path.read_text())
    }
    assert not found, "write through prejudge.formats.atomic"


def test_every_exception_is_needed() -> None:
    assert all(list(writes((ROOT / name).read_text())) for name in ALLOWED)
