"""The hash by which NAS-Bench-101 knows a cell (Ying et al., ICML 2019, arXiv:1902.09635; google-research/nasbench).

Weisfeiler-Lehman refinement with MD5: a vertex starts as the digest of the text ``(out-degree, in-degree, label)`` and
is then, once per vertex of the cell, replaced by the digest of its sorted in-neighbors, its sorted out-neighbors and
itself; the cell is the digest of the sorted list of its vertices. Every digest enters the next text as 32 hexadecimal
digits. Labels are -1 for the input, the index of the operation for interior vertices, -2 for the output.

:func:`hash_graph` is the definition, for one cell. :func:`hash_graphs` computes the same for many cells of equally many
vertices: one cell needs about fifty dependent digests of 70 to 400 bytes, too many for one call each when the whole
space is hashed, so MD5 itself is computed for thousands of texts at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

INPUT, OUTPUT = -1, -2
"""Labels of the first and the last vertex."""

_CELLS_AT_A_TIME = 16_384
_TEXTS_AT_A_TIME = 8_192  # 32 KiB per word of the texts: the working set of a step stays in the processor's cache


def hash_graph(matrix: Sequence[Sequence[int]], labels: Sequence[int]) -> str:
    """Hash of one cell, equal for isomorphic cells.

    Args:
        matrix: Adjacency of the pruned cell, ``matrix[source][target]`` 0 or 1, V rows of V entries.
        labels: Label of each vertex, V integers.

    Returns:
        32 hexadecimal digits, those of the official files.
    """
    vertices = range(len(labels))
    sources = [[w for w in vertices if matrix[w][v]] for v in vertices]
    targets = [[w for w in vertices if matrix[v][w]] for v in vertices]
    # int(): a NumPy 2 scalar prints as np.int64(…), and every hash would change with it.
    hashes = [_md5(str((len(targets[v]), len(sources[v]), int(labels[v])))) for v in vertices]
    for _ in vertices:
        hashes = [
            _md5(
                "".join(sorted([hashes[w] for w in sources[v]]))
                + "|"
                + "".join(sorted([hashes[w] for w in targets[v]]))
                + "|"
                + hashes[v]
            )
            for v in vertices
        ]
    return _md5(str(sorted(hashes)))


def hash_graphs(matrices: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Hashes of many cells that have equally many vertices; each row is what :func:`hash_graph` gives.

    Args:
        matrices: Adjacency of the pruned cells, 0 or 1, shape ``(N, V, V)``.
        labels: Labels of their vertices, shape ``(N, V)``.

    Returns:
        Digests as bytes, shape ``(N, 16)``, uint8.
    """
    matrices, labels = np.asarray(matrices, np.uint8), np.asarray(labels, np.int8)
    digests = np.empty((len(matrices), 16), np.uint8)
    for start in range(0, len(matrices), _CELLS_AT_A_TIME):
        chosen = slice(start, start + _CELLS_AT_A_TIME)
        digests[chosen] = _hash_batch(matrices[chosen], labels[chosen])
    return digests


def _hash_batch(matrices: np.ndarray, labels: np.ndarray) -> np.ndarray:
    count, vertices = labels.shape
    out_degree, in_degree = matrices.sum(2, dtype=np.uint8).ravel(), matrices.sum(1, dtype=np.uint8).ravel()
    digests = _first_digests(out_degree, in_degree, labels.ravel())
    neighborhoods = _by_degree(matrices, in_degree, out_degree)
    for _ in range(vertices):
        texts, keys = _hexadecimal(digests), _sort_keys(digests)
        following = np.empty_like(digests)
        for members, sources, targets in neighborhoods:
            following[members] = _md5_of_rows(
                _sorted_texts(texts, keys, sources),
                _repeated(b"|", len(members)),
                _sorted_texts(texts, keys, targets),
                _repeated(b"|", len(members)),
                texts[members],
            )
        digests = following
    texts, keys = _hexadecimal(digests), _sort_keys(digests)
    listed = _sorted_texts(texts, keys, np.arange(count * vertices).reshape(count, vertices))
    quoted = np.empty((count, vertices, 36), np.uint8)  # the text of a Python list of strings: ['…', '…']
    quoted[:, :, :2] = np.frombuffer(b" '", np.uint8)
    quoted[:, :, 2:34] = listed.reshape(count, vertices, 32)
    quoted[:, :, 34:] = np.frombuffer(b"',", np.uint8)
    quoted[:, 0, 0], quoted[:, -1, 35] = ord("["), ord("]")
    return _md5_of_rows(quoted.reshape(count, -1))


def _first_digests(out_degree: np.ndarray, in_degree: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Digests of the initial texts ``(V,)`` -> ``(V, 16)``; only a few dozen differ."""
    codes = (out_degree.astype(np.int32) << 16) + (in_degree.astype(np.int32) << 8) + (labels.astype(np.int32) + 128)
    distinct, inverse = np.unique(codes, return_inverse=True)
    texts = [str((code >> 16, (code >> 8) & 255, (code & 255) - 128)) for code in distinct.tolist()]
    table = [bytes.fromhex(_md5(text)) for text in texts]
    return np.frombuffer(b"".join(table), np.uint8).reshape(-1, 16)[inverse]


def _by_degree(
    matrices: np.ndarray, in_degree: np.ndarray, out_degree: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Vertices with equally many in- and out-neighbors, whose texts are thus equally long.

    Returns:
        For each pair of degrees ``i, o`` the positions of its vertices among all, shape ``(n,)``, and the positions of
        their in-neighbors ``(n, i)`` and of their out-neighbors ``(n, o)``.
    """
    count, vertices, _ = matrices.shape
    first = np.arange(count).repeat(vertices) * vertices  # position of the first vertex of the same cell
    # Stable: the indices of the ones come first, ascending.
    sources = np.argsort(1 - matrices.transpose(0, 2, 1), axis=2, kind="stable").reshape(-1, vertices)
    targets = np.argsort(1 - matrices, axis=2, kind="stable").reshape(-1, vertices)
    pairs = in_degree.astype(np.int64) * (vertices + 1) + out_degree
    groups = []
    for pair in np.unique(pairs).tolist():
        members = np.flatnonzero(pairs == pair)
        i, o = divmod(pair, vertices + 1)
        base = first[members, None]
        groups.append((members, base + sources[members, :i], base + targets[members, :o]))
    return groups


def _hexadecimal(digests: np.ndarray) -> np.ndarray:
    """Digests ``(n, 16)`` as hexadecimal text ``(n, 32)``, both uint8."""
    pairs = np.frombuffer(bytes(range(256)).hex().encode(), np.uint16)
    result: np.ndarray = pairs[digests].view(np.uint8)
    return result


def _sort_keys(digests: np.ndarray) -> np.ndarray:
    """Numbers that order digests as their texts do; the first eight bytes, which no two different digests share."""
    return np.ascontiguousarray(digests[:, :8]).view(">u8").ravel().astype(np.uint64)


def _sorted_texts(texts: np.ndarray, keys: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The texts at ``positions`` ``(n, k)``, ascending in each row and joined: ``(n, 32 * k)``."""
    n, k = positions.shape
    if k > 1:
        positions = np.take_along_axis(positions, np.argsort(keys[positions], axis=1), axis=1)
    result: np.ndarray = texts.view(np.uint64)[positions.ravel()].view(np.uint8).reshape(n, 32 * k)
    return result


def _repeated(text: bytes, n: int) -> np.ndarray:
    return np.broadcast_to(np.frombuffer(text, np.uint8), (n, len(text)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


# MD5 as RFC 1321 defines it: four rounds of sixteen steps.
_SHIFTS = ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))
_WORD_OF_STEP = ((1, 0), (5, 1), (3, 5), (7, 0))  # step s of a round reads word (factor * s + offset) % 16
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_SINES = tuple((np.abs(np.sin(np.arange(1, 65))) * 2.0**32).astype(np.uint32))


def _md5_of_rows(*columns: np.ndarray) -> np.ndarray:
    """MD5 of each row of the columns joined, ``n`` texts of one length: shape ``(n, 16)``, uint8."""
    n, length = len(columns[0]), sum(column.shape[1] for column in columns)
    blocks = (length + 8) // 64 + 1
    padding = np.zeros(64 * blocks - length, np.uint8)
    padding[0] = 0x80
    padding[-8:] = np.frombuffer((8 * length).to_bytes(8, "little"), np.uint8)
    digests = np.empty((n, 16), np.uint8)
    for start in range(0, n, _TEXTS_AT_A_TIME):
        rows = [column[start : start + _TEXTS_AT_A_TIME] for column in columns]
        padded = np.concatenate([*rows, _repeated(padding.tobytes(), len(rows[0]))], axis=1)
        words = np.ascontiguousarray(padded.view("<u4").T).astype(np.uint32, copy=False)
        state = [np.full(words.shape[1], value, np.uint32) for value in _START]
        for block in range(blocks):
            state = _md5_block(state, words[16 * block : 16 * block + 16])
        digests[start : start + _TEXTS_AT_A_TIME] = np.stack(state, axis=1).astype("<u4").view(np.uint8)
    return digests


def _md5_block(state: list[np.ndarray], words: np.ndarray) -> list[np.ndarray]:
    """One application of the compression function to ``n`` states (four arrays ``(n,)``) and ``words`` ``(16, n)``."""
    a, b, c, d = (part.copy() for part in state)
    mixed, rotated = np.empty_like(a), np.empty_like(a)
    for step in range(64):
        kind, position = divmod(step, 16)
        if kind == 0:
            np.bitwise_xor(c, d, out=mixed)
            mixed &= b
            mixed ^= d
        elif kind == 1:
            np.bitwise_xor(b, c, out=mixed)
            mixed &= d
            mixed ^= c
        elif kind == 2:
            np.bitwise_xor(b, c, out=mixed)
            mixed ^= d
        else:
            np.invert(d, out=mixed)
            mixed |= b
            mixed ^= c
        factor, offset = _WORD_OF_STEP[kind]
        a += mixed
        a += words[(factor * position + offset) % 16]
        a += _SINES[step]
        shift = _SHIFTS[kind][position % 4]
        np.right_shift(a, np.uint32(32 - shift), out=rotated)
        a <<= np.uint32(shift)
        a |= rotated
        a += b
        a, b, c, d = d, a, b, c
    return [old + new for old, new in zip(state, (a, b, c, d), strict=True)]
