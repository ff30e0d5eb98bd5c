"""The solvers of the LASSO problems of a sparse recovery, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from prejudge.errors import InputError, MissingDataError, PrejudgeError, unknown
from prejudge.search.supernet.ista.lasso import duality_gap, lasso

Solver = Callable[[Sequence[np.ndarray], Sequence[np.ndarray], float], list[np.ndarray]]
"""Matrices ``(m, n)``, targets ``(m,)`` and the penalty to the minimizers ``(n,)``: the arguments of :func:`lasso`."""

SOLVERS = ("exact", "cvxpy-clarabel", "cvxpy-mosek")

_SETTINGS = {"CLARABEL": dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-12), "MOSEK": {}}

GAP = 1e-6
"""Largest duality gap of a solver's answer, as a share of the objective, that is accepted."""


def solver(name: str = "exact") -> Solver:
    """The solver of this name.

    Args:
        name: ``"exact"``, the active-set method of this package; ``"cvxpy-clarabel"``, the interior-point method that
            comes with cvxpy; ``"cvxpy-mosek"``, that of the original code, which needs a license.

    Raises:
        InputError: There is no such solver, it is refused because it chooses wrong operations, or its package is not
            installed.
        MissingDataError: MOSEK has no license.
    """
    if name == "exact":
        return lasso
    if name == "cvxpy-clarabel":
        return partial(_by_cvxpy, program="CLARABEL")
    if name == "cvxpy-mosek":
        _require_mosek()
        return partial(_by_cvxpy, program="MOSEK")
    program = name.lower().removeprefix("cvxpy-")
    if program in ("scs", "osqp"):
        raise InputError(
            f"solver {name!r} is refused: at its default tolerance {program.upper()} chooses wrong operations (the "
            f"objectives, 1e-8 to 1e-6, lie below it); use {', '.join(SOLVERS[:-1])} or {SOLVERS[-1]}"
        )
    raise unknown("solver", name, SOLVERS)


def _by_cvxpy(
    matrices: Sequence[np.ndarray], targets: Sequence[np.ndarray], penalty: float, *, program: str
) -> list[np.ndarray]:
    """Solve by a program that cvxpy drives.

    The problem is scaled so that its target has length 1 and its penalty is 1. The minimizers are the same but for the
    target's length, and the objective is of a size that the programs' tolerances are made for: unscaled, CLARABEL's
    answers are off by up to 4e-5 of the largest entry, scaled by less than 1e-9.
    """
    import cvxpy

    answers = []
    for k, (given, aim) in enumerate(zip(matrices, targets, strict=True)):
        a, b = np.asarray(given, np.float64), np.asarray(aim, np.float64)
        length = float(np.linalg.norm(b))
        if length == 0:
            answers.append(np.zeros(a.shape[1]))
            continue
        z = cvxpy.Variable(a.shape[1])
        misfit = 0.5 * length / penalty * cvxpy.sum_squares(a @ z - b / length)  # type: ignore[attr-defined]
        problem = cvxpy.Problem(cvxpy.Minimize(misfit + cvxpy.norm1(z)))  # type: ignore[attr-defined]
        problem.solve(solver=program, **_SETTINGS[program])
        if z.value is None:
            raise PrejudgeError(f"{program} cannot solve LASSO problem {k} ({problem.status}); use solver 'exact'")
        found = length * np.asarray(z.value, np.float64)
        gap = duality_gap(a, b, found, penalty)
        if not gap <= GAP:
            raise PrejudgeError(
                f"{program}'s answer to LASSO problem {k} may lie {gap:.1e} of its objective above the minimum, more "
                f"than {GAP:g}; use solver 'exact'"
            )
        answers.append(found)
    return answers


def _require_mosek() -> None:
    """Raise unless MOSEK is installed and may be used: a search must not find that out after its first epoch."""
    if find_spec("mosek") is None:
        raise InputError("solver 'cvxpy-mosek' needs MOSEK: pip install 'prejudge[mosek]', or use solver 'exact'")
    mosek = import_module("mosek")
    try:
        with mosek.Env() as environment:
            environment.checkoutlicense(mosek.feature.pton)
    except mosek.Error as error:
        place = Path.home() / "mosek" / "mosek.lic"
        raise MissingDataError(
            f"solver 'cvxpy-mosek': MOSEK has no valid license ({' '.join(str(error).split()).rstrip(': ')}); put one, "
            f"free for academic use from mosek.com, at {place} or at the place that MOSEKLM_LICENSE_FILE names, or use "
            "solver 'exact'"
        ) from None
