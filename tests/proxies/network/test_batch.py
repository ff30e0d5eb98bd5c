"""Batches in every form in which callers have them, and what is refused in one line."""

from __future__ import annotations

import random
from collections import UserDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from prejudge.errors import InputError
from prejudge.proxies import Probe
from prejudge.proxies.network.batch import read_batch
from prejudge.proxies.scoring import score, score_repeats
from tests.proxies.cases import batch, case

X, Y = batch(torch.float32)


class Two(nn.Module):
    """Two inputs; the second may be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.network = case("plain", torch.float32)

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        logits: Tensor = self.network(x)
        return logits if shift is None else logits + shift


FORMS: dict[str, Any] = {
    "lists": (X.tolist(), Y.tolist()),
    "arrays": (X.numpy(), Y.numpy()),
    "doubles": (X.double(), Y.to(torch.int8)),
    "a list of numbers": (X, [torch.tensor(label) for label in Y.tolist()]),
    "a pair": ((X, Y), None),
    "a pair of lists": ([X.tolist(), Y], None),
    "one input by position": ([X], Y),
    "one input by name": ({"x": X}, Y),
    "another mapping": (UserDict(x=X), Y),
    "a loader": (DataLoader(TensorDataset(X, Y), batch_size=len(X)), None),
    "a loader of lists": (DataLoader(list(zip(X, Y.tolist(), strict=True)), batch_size=len(X)), None),
    "batches": (type("Batches", (), {"__iter__": lambda _: iter([(X, Y), (X[:1], Y[:1])])})(), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_scores_as_tensors_do(form: str) -> None:
    chosen = ["snip", "fisher", "ntk_trace", "jacob_cov", "synflow"]
    expected = score(case("plain", torch.float32), X, Y, chosen)
    inputs, targets = FORMS[form]
    network: Any = case("plain", torch.float32) if "name" not in form and "mapping" not in form else Two()
    found = score(network, inputs, targets, chosen)
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-6), name
    loader = form in ("a loader", "a loader of lists", "batches")
    assert found["snip"].remarks == (("scored on the first batch of the loader",) if loader else ())


def test_a_pair_is_told_from_two_inputs_by_the_signature() -> None:
    class Needs(Two):
        def forward(self, x: Tensor, shift: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x, shift)

    shift = torch.arange(6)
    assert read_batch(case("plain"), (X, Y)).targets is not None
    assert read_batch(nn.DataParallel(case("plain")), (X, shift)).targets is not None
    assert read_batch(Needs(), (X, shift)).targets is None
    assert read_batch(Two(), (X, shift[:, None].float())).targets is None
    unclear = read_batch(Two(), (X, shift))
    assert unclear.targets is not None
    assert unclear.remarks == ("the second of two inputs was taken for the targets",)
    inputs, labels = read_batch(Two(), ({"x": X, "shift": None}, Y)), Y
    assert inputs.given == {"x": X, "shift": None} and inputs.targets.equal(labels)
    assert read_batch(Two(), inputs) is inputs


def test_a_loader_s_draws_follow_the_seed_and_move_no_generator() -> None:
    own = torch.Generator().manual_seed(3)
    for generator in (None, own):
        loader = DataLoader(TensorDataset(X, Y), batch_size=2, shuffle=True, generator=generator)
        states = torch.get_rng_state(), random.getstate(), own.get_state()
        first, again, other = (read_batch(case("plain"), loader, seed=seed) for seed in (0, 0, 5))
        assert states[0].equal(torch.get_rng_state()) and states[1] == random.getstate()
        assert states[2].equal(own.get_state())
        assert first.given.equal(again.given)
        assert generator is not None or not first.given.equal(other.given)


def test_repeats_in_other_forms_score_as_alone() -> None:
    networks = [case("plain", torch.float32), case("plain", torch.float32)]
    alone = score(networks[0], X, Y, ["snip", "zen"], seed=2)
    for inputs, targets in (([(X, Y), (X, Y)], None), ([[X], [X]], [Y, Y.tolist()])):
        for found in score_repeats(networks, inputs, targets, ["snip", "zen"], seeds=[2, 2]):
            for name, value in alone.items():
                assert float(found[name]) == pytest.approx(float(value), rel=1e-5)


def test_the_probe_gives_the_batch_in_the_form_of_the_call() -> None:
    probe = Probe(Two().double(), {"x": X, "shift": None}, Y)
    assert probe.inputs.keys() == {"x", "shift"} and probe.inputs["x"].dtype == torch.float64
    assert probe.logits_of(probe.network).equal(probe.network(X.double()))
    assert Probe(Two(), (X, torch.zeros(6, 1)), Y).logits_of(Two()).shape == (6, 5)
    assert Probe(Two(), X, Y).logits_of(Two()).shape == (6, 5)


def pairs() -> Iterator[Any]:
    yield X, Y


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (None, Y, "inputs must be a tensor, a tuple or dict of tensors, an (x, y) pair or a DataLoader, not NoneType"),
        ("images", Y, "not str"),
        (pairs(), None, "not generator"),
        ({}, Y, "inputs hold no tensor"),
        (({"x": [object()]}), Y, "input 'x' must be"),
        (X.to_sparse(), Y, "inputs must be an ordinary dense tensor, not torch.sparse_coo"),
        (X.to(torch.complex64), Y, "inputs must be floating point, not torch.complex64"),
        (X.bool(), Y, "inputs must be floating point, not torch.bool"),
        (X.long(), Y, "the network cannot take a batch of int64 (6, 3, 12, 12): "),
        ((X, X, X), Y, "the network cannot take a batch of 0: float32 (6, 3, 12, 12), 1: "),
        ({"images": X}, Y, "the network cannot take a batch of images: float32 (6, 3, 12, 12): "),
        (np.array(["a"]), Y, "not ndarray"),
        (X, ["a"] * 6, "targets must be a tensor, an array or a list of numbers, not list"),
        (X, torch.tensor(1), "targets must be 6 class indices (int64), not torch.int64 of shape ()"),
        (X, torch.rand(6, 5), "or class probabilities, not torch.float32 of shape (6, 5); for other targets give loss"),
        (X, torch.ones(6, 1), "or class probabilities"),
        (X, torch.zeros(6, 2, 2).long(), "targets int64 (6, 2, 2) do not fit logits float32 (6, 5) for cross-entropy"),
        (X, torch.full((6, 3), 1 / 3), "targets float32 (6, 3) do not fit logits float32 (6, 5) for cross-entropy"),
        (X, torch.full((6, 1), -3), "label -3 is out of range"),
        (DataLoader(TensorDataset(X, Y)), Y, "a loader gives the targets itself"),
        (DataLoader(TensorDataset(X, Y, Y)), None, "the loader's batches are 3 entries, no (x, y) pairs"),
        (DataLoader(TensorDataset(X[:0], Y[:0])), None, "the loader gives no batch"),
    ],
)  # fmt: skip
def test_what_is_no_batch_is_refused_in_one_line(inputs: Any, targets: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        score(case("plain", torch.float32), inputs, targets, ["snip"])
    assert message in str(error.value) and "\n" not in str(error.value)
