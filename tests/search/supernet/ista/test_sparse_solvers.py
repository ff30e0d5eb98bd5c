"""The programs behind a sparse recovery: that they agree, and what is said where one cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace, TracebackType

import numpy as np
import pytest

from prejudge.errors import InputError, MissingDataError, PrejudgeError
from prejudge.search.supernet.ista import sparse_solvers
from prejudge.search.supernet.ista.lasso import lasso
from prejudge.search.supernet.ista.sparse_solvers import solver


def instances(golden: Path) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], float]:
    with np.load(golden / "supernets" / "ista_lasso.npz") as stored:
        matrices, targets, answers = ([stored[f"{key}_{k}"] for k in range(48)] for key in ("A", "b", "z_cvxpy"))
        return matrices, targets, answers, float(stored["lam"])


@pytest.mark.parametrize("name", ["exact", "cvxpy-clarabel"])
def test_the_solvers_agree_with_the_original_on_the_golden_problems(golden: Path, name: str) -> None:
    if name != "exact":
        pytest.importorskip("cvxpy")
    matrices, targets, answers, penalty = instances(golden)
    for z, expected in zip(solver(name)(matrices, targets, penalty), answers, strict=True):
        assert np.abs(z - expected).max() <= 1e-8 * np.abs(expected).max()
        assert np.argsort(np.abs(z))[-2:].tolist() == np.argsort(np.abs(expected))[-2:].tolist()


def test_the_default_is_exact() -> None:
    assert solver() is lasso


def test_clarabel_takes_targets_of_any_size() -> None:
    pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    matrices = [rng.random((7, 14)) for _ in range(4)]
    targets = [scale * rng.standard_normal(7) for scale in (0.0, 1e-4, 1.0, 30.0)]
    exact, found = (solver(name)(matrices, targets, 1e-5) for name in ("exact", "cvxpy-clarabel"))
    for z, expected in zip(found, exact, strict=True):
        np.testing.assert_allclose(z, expected, rtol=0, atol=1e-7 * max(np.abs(expected).max(), 1e-9))


@pytest.mark.parametrize("name", ["scs", "osqp", "cvxpy-scs", "OSQP"])
def test_solvers_that_choose_wrong_operations_are_refused(name: str) -> None:
    with pytest.raises(
        InputError, match=r"refused: at its default tolerance .* wrong operations .* use exact, cvxpy-"
    ) as e:
        solver(name)
    assert "\n" not in str(e.value)


def test_an_unknown_solver_is_named() -> None:
    with pytest.raises(InputError, match="unknown solver 'exakt'; did you mean 'exact'"):
        solver("exakt")


def test_mosek_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_solvers, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs MOSEK: pip install 'prejudge\[mosek\]', or use solver 'exact'"):
        solver("cvxpy-mosek")


def mosek(licensed: bool) -> ModuleType:
    """A stand-in for the package, as far as its license is concerned."""

    class Error(Exception):
        pass

    class Env:
        def __enter__(self) -> Env:
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            return None

        def checkoutlicense(self, feature: object) -> None:
            if not licensed:
                raise Error("rescode.err_missing_license_file(1008): ")

    found = ModuleType("mosek")
    found.__dict__.update(Error=Error, Env=Env, feature=SimpleNamespace(pton="pton"))
    return found


def test_mosek_without_its_license(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_solvers, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "mosek", mosek(licensed=False))
    with pytest.raises(MissingDataError) as e:
        solver("cvxpy-mosek")
    assert "no valid license (rescode.err_missing_license_file(1008))" in str(e.value)
    assert str(Path("mosek") / "mosek.lic") in str(e.value) and "MOSEKLM_LICENSE_FILE" in str(e.value)
    assert "use solver 'exact'" in str(e.value) and "\n" not in str(e.value)
    monkeypatch.setitem(sys.modules, "mosek", mosek(licensed=True))
    assert callable(solver("cvxpy-mosek"))


def test_an_answer_far_from_the_minimum_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cvxpy")
    monkeypatch.setattr(sparse_solvers, "GAP", -1.0)
    with pytest.raises(PrejudgeError, match=r"CLARABEL's answer to LASSO problem 0 may lie .* use solver 'exact'"):
        solver("cvxpy-clarabel")([np.ones((2, 3))], [np.ones(2)], 1e-3)


def test_times_are_measured_for_each_solver() -> None:
    from perf.ista import recovery_milliseconds

    times = recovery_milliseconds(("exact",), repeats=2)
    assert list(times) == ["exact"] and times["exact"] > 0
