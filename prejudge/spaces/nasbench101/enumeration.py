"""Every cell of NAS-Bench-101, in ascending order of its hash.

The official generator runs through all upper-triangular matrices and all labelings of each and keeps the first cell
of every hash. Most of that work is spent on matrices that are renumberings of an earlier one: their labeled cells
have all been seen. Here only the first matrix of each class of isomorphic matrices is labeled, which leaves the same
cells, vertex for vertex, for a third of the hashes (450,808 instead of 1,293,208).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from io import BytesIO
from itertools import permutations, product
from pathlib import Path

import numpy as np

from prejudge.errors import PrejudgeError
from prejudge.formats.atomic import make_folder, write_atomically
from prejudge.spaces.nasbench101.cell import MAX_EDGES, MAX_VERTICES, OPERATIONS, Cell101, Matrix
from prejudge.spaces.nasbench101.hash import INPUT, OUTPUT, hash_graphs

SIZE = 423_624
"""Number of cells within these limits."""

_DIGEST = "704d8417e4c7157ac2f1d40df35007f37b32cd9fe2fafd0db595a7efe8e11251"
"""SHA-256 of the whole enumeration: a kept file that gives another one is damaged or foreign."""


@dataclass(frozen=True, eq=False)
class Enumeration:
    """Cells in ascending order of their hash.

    Attributes:
        digests: Hashes as bytes, shape ``(N, 16)``, uint8.
        vertices: Number of vertices V, shape ``(N,)``, uint8.
        edges: Bit ``source + target * (target - 1) / 2`` is the edge, shape ``(N,)``, uint32.
        labeling: The V - 2 operations as digits of base 3, first vertex first, shape ``(N,)``, uint8.
    """

    digests: np.ndarray
    vertices: np.ndarray
    edges: np.ndarray
    labeling: np.ndarray

    def __len__(self) -> int:
        return len(self.digests)

    def hash(self, index: int) -> str:
        """Hash of a cell, 32 hexadecimal digits."""
        result: str = self.digests[index].tobytes().hex()
        return result

    def cell(self, index: int) -> Cell101:
        """The cell with this index, its vertices numbered as the official generator numbers them."""
        vertices = self.vertices.item(index)
        return Cell101(matrix_of(vertices, self.edges.item(index)), operations_of(vertices, self.labeling.item(index)))

    def find(self, digest: str) -> int | None:
        """Index of a hash, 32 hexadecimal digits; None where it has none."""
        wanted = bytes.fromhex(digest)
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.digests[middle].tobytes() < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self.digests[low].tobytes() == wanted else None

    @property
    def checksum(self) -> str:
        """SHA-256 of names, types, shapes and values of the four arrays."""
        state = hashlib.sha256()
        for name, array in vars(self).items():
            state.update(f"{name} {array.dtype.name} {array.shape}".encode())
            state.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()


@lru_cache(maxsize=8192)
def matrix_of(vertices: int, edges: int) -> Matrix:
    """The matrix, V rows of V entries, whose edges are the bits of ``edges`` (see :class:`Enumeration`)."""
    return tuple(
        tuple((edges >> (x + y * (y - 1) // 2)) & 1 if x < y else 0 for y in range(vertices)) for x in range(vertices)
    )


@lru_cache(maxsize=1024)
def operations_of(vertices: int, labeling: int) -> tuple[int, ...]:
    """The V - 2 operations whose base-3 digits are ``labeling``, first vertex first."""
    return tuple(labeling // len(OPERATIONS) ** k % len(OPERATIONS) for k in reversed(range(vertices - 2)))


def distinct_matrices(vertices: int, max_edges: int = MAX_EDGES) -> np.ndarray:
    """The first of each class of isomorphic matrices, in the order of the official generator.

    A matrix belongs to the space if every vertex lies on a path from input to output; two are isomorphic if renumbering
    interior vertices turns one into the other.

    Returns:
        Edges as bits (see :class:`Enumeration`), ascending, uint32.
    """
    pairs = [(x, y) for y in range(vertices) for x in range(y)]
    bits = np.arange(2 ** len(pairs), dtype=np.uint32)
    bits = bits[sum((bits >> np.uint32(k)) & np.uint32(1) for k in range(len(pairs))) <= max_edges]
    for v in range(vertices):
        # In an upper-triangular matrix every vertex is on a path if each but the last has a target, each but the first
        # a source.
        if v < vertices - 1:
            bits = bits[bits & _mask(k for k, (x, _) in enumerate(pairs) if x == v) != 0]
        if v > 0:
            bits = bits[bits & _mask(k for k, (_, y) in enumerate(pairs) if y == v) != 0]
    for interior in permutations(range(1, vertices - 1)):
        renumbered = (0, *interior, vertices - 1)
        backwards = _mask(k for k, (x, y) in enumerate(pairs) if renumbered[x] > renumbered[y])
        possible = np.flatnonzero(bits & backwards == 0)
        image = np.zeros(len(possible), np.uint32)
        for k, (x, y) in enumerate(pairs):
            if renumbered[x] < renumbered[y]:
                to = pairs.index((renumbered[x], renumbered[y]))
                image |= ((bits[possible] >> np.uint32(k)) & np.uint32(1)) << np.uint32(to)
        # An image that comes earlier is itself in the space: this matrix is not the first of its class.
        bits = np.delete(bits, possible[image < bits[possible]])
    return bits


def _mask(positions: Iterable[int]) -> np.uint32:
    return np.uint32(sum(1 << k for k in positions))


def enumerate_cells(max_vertices: int = MAX_VERTICES, max_edges: int = MAX_EDGES) -> Enumeration:
    """Compute all cells within the limits; the whole space takes about 12 seconds on one core.

    Returns:
        One cell for each hash: the first in the order of the official generator (by vertices, then by edges, then by
        labeling).
    """
    parts: list[tuple[np.ndarray, ...]] = []
    for vertices in range(2, max_vertices + 1):
        edges = distinct_matrices(vertices, max_edges)
        labels = np.array(
            [(INPUT, *ops, OUTPUT) for ops in product(range(len(OPERATIONS)), repeat=vertices - 2)], np.int8
        )
        edge, label = np.divmod(np.arange(len(edges) * len(labels)), len(labels))
        matrices = np.array([matrix_of(vertices, bits) for bits in edges.tolist()], np.uint8)
        digests = hash_graphs(matrices[edge], labels[label])
        parts.append((digests, np.full(len(edge), vertices, np.uint8), edges[edge], label.astype(np.uint8)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    high, low = columns[0].view(">u8").astype(np.uint64).T
    order = np.lexsort((low, high))  # stable: of equal hashes the first generated stays first
    high, low = high[order], low[order]
    first = np.concatenate([[True], (high[1:] != high[:-1]) | (low[1:] != low[:-1])])
    return Enumeration(*(column[order[first]] for column in columns))


def kept_file() -> Path:
    """Where the enumeration is kept once computed: the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(user_cache_path("prejudge", appauthor=False)) / "nasbench101.npz"


def load_enumeration() -> Enumeration:
    """The whole space: read from :func:`kept_file`, or computed and kept there for the next time.

    A file that is damaged, foreign or of another version is computed again and replaced; where the folder cannot be
    written, the next process computes it again.
    """
    path = kept_file()
    kept = _read(path)
    if kept is not None:
        return kept
    cells = enumerate_cells()
    _keep(path, cells)
    return cells


def _read(path: Path) -> Enumeration | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            cells = Enumeration(*(file[field.name] for field in fields(Enumeration)))
        return cells if len(cells) == SIZE and cells.checksum == _DIGEST else None
    except Exception:  # whatever is wrong with the file, it is computed again
        return None


def _keep(path: Path, cells: Enumeration) -> None:
    content = BytesIO()
    np.savez(content, **vars(cells))
    with suppress(OSError, PrejudgeError):
        make_folder(path.parent)
        write_atomically(path, content.getbuffer())
