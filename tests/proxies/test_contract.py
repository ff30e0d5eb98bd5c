"""The contract that every proxy passes: the built-in ones, one from a file, one from an entry point, and a bad one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from prejudge import plugins
from prejudge.errors import InputError
from prejudge.proxies import Probe, names, registry
from prejudge.proxies.contract import ProxyContract, TokenProxyContract
from prejudge.proxies.quantities import FIRST_ORDER, LABELED, STAGES, Quantity
from prejudge.proxies.scoring import score
from tests.proxies.cases import BUILT_IN, batch, case

PROMISES = [name for name in dir(ProxyContract) if name.startswith("test_")]

MINE = '''
from prejudge.proxies import proxy

@proxy("my_score", reference="mine, 2026", reads=["weight_gradients"], needs_labels=True)
def my_score(probe, power=1.0):
    """Sum of gradients to a power."""
    return sum(g.abs().pow(power).sum() for g in probe.weight_gradients.values())
'''


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("promise", PROMISES)
def test_built_in_proxies(name: str, promise: str) -> None:
    suite = ProxyContract()
    suite.proxy = name
    getattr(suite, promise)()


@pytest.mark.parametrize("name", ["snip", "fisher", "ntk_trace", "epe_nas", "synflow", "zen", "naswot"])
def test_built_in_proxies_on_tokens(name: str) -> None:
    suite = TokenProxyContract()
    suite.proxy = name
    for promise in PROMISES:
        getattr(suite, promise)()


def test_a_proxy_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    suite = ProxyContract()
    suite.proxy = f"{file}:my_score"
    for promise in PROMISES:
        getattr(suite, promise)()
    network, (x, y) = case("plain"), batch()
    scores = score(network, x, y, [f"{file}:my_score", "my_score(power=2.0)"])
    assert list(scores) == ["my_score", "my_score(power=2.0)"]
    assert float(scores["my_score"]) > 0
    del registry.register.items["my_score"]


def test_a_proxy_from_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> Any:
        registry.proxy("from_a_package", reference="elsewhere")(lambda probe: 1.0)

    monkeypatch.setattr(registry.register, "_announced", False)
    monkeypatch.setattr(plugins.register, "entry_points", lambda group: [SimpleNamespace(load=load, name=group)])
    assert "from_a_package" in names()
    del registry.register.items["from_a_package"]


def test_a_file_that_does_not_run_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("import nothing_of_that_name\n")
    with pytest.raises(InputError, match=r"proxy file .*bad\.py failed: ModuleNotFoundError"):
        registry.resolve([f"{file}:mine"])


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"reads": ["weight_gradient"]}, "unknown probe quantity 'weight_gradient'; did you mean 'weight_gradients'?"),
        (
            {"reads": ["weights", "loss"]},
            "proxy 'wrong' reads loss, which depends on the targets; declare needs_labels",
        ),
        ({"reads": "weights"}, r"reads is a list of quantities, not the text 'weights'; write reads=\['weights'\]"),
    ],
)
def test_what_a_proxy_reads_is_checked_when_it_is_registered(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        registry.proxy("wrong", reference="none", **declared)
    assert "wrong" not in names()


def test_every_quantity_is_one_of_the_probe_s() -> None:
    assert list(STAGES) == list(get_args(Quantity))
    assert all(hasattr(Probe, quantity) for quantity in STAGES)
    assert LABELED < STAGES.keys() > FIRST_ORDER.keys()


def test_the_contract_catches_an_undeclared_read(monkeypatch: pytest.MonkeyPatch) -> None:
    @registry.proxy("greedy_for_the_test", reference="none", reads=["weights"])
    def greedy(probe: Any) -> Any:
        """Reads more than it says."""
        return probe.input_gradient.abs().sum()

    suite = ProxyContract()
    suite.proxy = "greedy_for_the_test"
    try:
        with pytest.raises(AssertionError, match="input_gradient"):
            suite.test_it_declares_what_it_reads()
    finally:
        del registry.register.items["greedy_for_the_test"]
