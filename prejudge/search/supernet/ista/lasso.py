"""Exact LASSO for a handful of small problems at once, by an active-set method with steps between signs.

ISTA-NAS recovers its sparse architecture vectors with it. First-order solvers are no use there: the objectives lie
between 1e-8 and 1e-6, below the tolerances at which such solvers stop.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prejudge.errors import InputError, PrejudgeError

TOLERANCE = 1e-6
"""Largest violation of the optimality conditions, as a share of the penalty, of an answer that counts as exact."""

_REST = 1e-11  # of the penalty: below it, the entries in use are at their minimum
_RIDGE = 1e-14  # of the diagonal: keeps the equations of dependent columns solvable; later steps refine it away
_EPSILON = float(np.finfo(np.float64).eps)


def lasso(matrices: Sequence[np.ndarray], targets: Sequence[np.ndarray], penalty: float) -> list[np.ndarray]:
    """Minimize ``0.5 ||A z - b||² + penalty ||z||₁`` for every pair of a matrix A and a target b.

    The entries in use grow one at a time, each time by the one whose constraint is violated most; then the quadratic in
    the entries in use is minimized, up to where the first of them changes its sign and leaves (the feature-sign search
    of Lee et al., NeurIPS 2006). The objective falls with every step, so no set of entries and signs comes up twice and
    the search ends, columns that are equal or dependent included. The problems advance in step, as one batch.

    The minimizer is unique for columns in general position. Where it is not, one of them is returned, always the same;
    of equal columns only the first is used.

    Args:
        matrices: A of every problem, ``(m, n)``; sizes may differ from problem to problem.
        targets: b of every problem, ``(m,)``.
        penalty: Positive.

    Returns:
        z of every problem, ``(n,)`` float64, with exact zeros.

    Raises:
        InputError: Shapes do not fit, a number is not finite, or the penalty is not positive.
        PrejudgeError: An answer violates the optimality conditions by more than :data:`TOLERANCE`: the penalty is too
            small beside the target for float64.
    """
    pairs = _checked(matrices, targets, penalty)
    if not pairs:
        return []
    rows, width = (max(a.shape[axis] for a, _ in pairs) for axis in (0, 1))
    stacked, aims = np.zeros((len(pairs), rows, width)), np.zeros((len(pairs), rows))
    for k, (a, b) in enumerate(pairs):  # zero rows and columns change no objective, and zero columns never enter
        stacked[k, : a.shape[0], : a.shape[1]] = a
        aims[k, : b.size] = b
    found = _minimize(stacked, aims, penalty)
    answers = [z[: a.shape[1]].copy() for z, (a, _) in zip(found, pairs, strict=True)]
    for k, ((a, b), z) in enumerate(zip(pairs, answers, strict=True)):
        violation = optimality_violation(a, b, z, penalty)
        if not violation <= TOLERANCE:
            raise PrejudgeError(
                f"LASSO: the answer to problem {k} ({a.shape[0]} x {a.shape[1]}) violates the optimality conditions by "
                f"{violation:.1e} of the penalty {penalty:g}, which is too small for targets of {np.abs(b).max():.1e}"
            )
    return answers


def optimality_violation(matrix: np.ndarray, target: np.ndarray, z: np.ndarray, penalty: float) -> float:
    """The distance of ``z`` from the conditions of a minimum, as a share of the penalty; 0 for the exact minimizer.

    With ``c = Aᵀ(b - A z)`` they are: ``c = penalty sign(z)`` where z is not zero, and ``|c| <= penalty`` elsewhere.

    Args:
        matrix: A, ``(m, n)``.
        target: b, ``(m,)``.
        z: The vector in question, ``(n,)``.
        penalty: The weight of the 1-norm.
    """
    correlation = matrix.T @ (target - matrix @ z)
    violation = np.where(z != 0, np.abs(correlation - penalty * np.sign(z)), np.abs(correlation) - penalty)
    return max(0.0, float(violation.max(initial=0.0))) / penalty


def duality_gap(matrix: np.ndarray, target: np.ndarray, z: np.ndarray, penalty: float) -> float:
    """An upper bound of how far the objective of ``z`` lies above the minimum, as a share of that objective.

    It judges answers whose zeros are only nearly zero. Arguments as of :func:`optimality_violation`.
    """
    residual = target - matrix @ z
    objective = 0.5 * residual @ residual + penalty * np.abs(z).sum()
    dual = residual * min(1.0, penalty / max(float(np.abs(matrix.T @ residual).max()), penalty))
    return float((objective - dual @ target + 0.5 * dual @ dual) / objective) if objective > 0 else 0.0


def _checked(
    matrices: Sequence[np.ndarray], targets: Sequence[np.ndarray], penalty: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    if not 0 < penalty < np.inf:
        raise InputError(f"LASSO: the penalty must be positive, not {penalty!r}")
    if len(matrices) != len(targets):
        raise InputError(f"LASSO: {len(matrices)} matrices need as many targets, not {len(targets)}")
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(matrices, targets, strict=True)]
    for k, (a, b) in enumerate(pairs):
        if a.ndim != 2 or b.shape != a.shape[:1] or not a.size:
            raise InputError(f"LASSO: problem {k} has a matrix of shape {a.shape} and a target of shape {b.shape}")
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise InputError(f"LASSO: problem {k} holds numbers that are not finite; has the training diverged?")
    return pairs


def _minimize(a: np.ndarray, b: np.ndarray, penalty: float) -> np.ndarray:
    """The minimizers ``(B, n)`` of the problems ``(B, m, n)``, ``(B, m)``; not yet checked."""
    count, rows, width = a.shape
    transposed = np.ascontiguousarray(a.transpose(0, 2, 1))
    gram = transposed @ a
    gram[:, np.arange(width), np.arange(width)] *= 1 + _RIDGE
    # What rounding makes of a correlation, for a residual that is the difference of numbers of size 1.
    magnitudes, size = np.abs(a), np.abs(b).max(1)
    rounding = _EPSILON * (rows + width) * magnitudes.sum(1)
    problem = np.arange(count)
    z, sign = np.zeros((count, width)), np.zeros((count, width))
    for _ in range(20 * (rows + width)):  # far beyond what is ever taken; a guard against cycles of rounding errors
        correlation = (transposed @ (b - (a @ z[..., None])[..., 0])[..., None])[..., 0]
        used = sign != 0
        pull = np.where(used, correlation - penalty * sign, 0.0)
        scale = np.maximum(size, (magnitudes @ np.abs(z)[..., None]).max((1, 2)))
        rest = _REST * penalty + rounding * scale[:, None]
        resting = (np.abs(pull) <= rest).all(1)
        excess = np.where(used, 0.0, np.abs(correlation) - penalty - 2 * rest)
        entering = excess.argmax(1)
        enters = resting & (excess[problem, entering] > 0)
        running = enters | ~resting
        if not running.any():
            break
        # The others' rests of rounding must not decide the way of an entry that enters: it would leave at once.
        pull[enters] = 0.0
        who, where = problem[enters], entering[enters]
        sign[who, where] = np.sign(correlation[who, where])
        pull[who, where] = correlation[who, where] - penalty * sign[who, where]
        way = _newton(gram, sign != 0, pull)
        shrinks = sign * way < 0
        length = np.divide(-z, way, out=np.full_like(z, np.inf), where=shrinks)
        step = np.where(running, np.minimum(length.min(1), 1.0), 0.0)[:, None]
        z += step * way
        leaves = (length <= step) & running[:, None]
        z[leaves] = sign[leaves] = 0.0
    return z


def _newton(gram: np.ndarray, used: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """The step ``(B, n)`` to the minimum of each problem's quadratic over the entries in use."""
    most = int(used.sum(1).max())
    slots = np.argsort(~used, axis=1, kind="stable")[:, :most]  # entries in use first; the rest of the slots is empty
    problem = np.arange(len(used))[:, None]
    taken = used[problem, slots]
    equations = gram[problem[:, :, None], slots[:, :, None], slots[:, None, :]] * (
        taken[:, :, None] & taken[:, None, :]
    )
    diagonal = np.arange(most)
    equations[:, diagonal, diagonal] += ~taken
    way = np.zeros_like(pull)
    way[problem, slots] = np.linalg.solve(equations, pull[problem, slots][..., None])[..., 0]
    return way
