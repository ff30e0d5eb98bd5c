"""Losses of a batch: what cross-entropy takes, what callers give, each image's part, and what is refused."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prejudge.errors import InputError
from prejudge.proxies.passes.loss import BatchLoss
from prejudge.proxies.scoring import score, score_repeats
from tests.proxies.cases import batch, case

OF_THE_LOSS = ["grad_norm", "snip", "grasp", "fisher"]


def test_cross_entropy_as_a_loss_gives_what_the_default_gives() -> None:
    network, (x, y) = case("nb201"), batch()
    expected = score(network, x, y, [*OF_THE_LOSS, "ntk_trace", "epe_nas"])
    one_hot = F.one_hot(y, 5).double()
    for targets, loss in (
        (y, F.cross_entropy),
        (y, nn.CrossEntropyLoss()),
        (one_hot, None),
        (one_hot, F.cross_entropy),
    ):
        found = score(network, x, targets, list(expected), loss=loss)
        for name in expected if targets is y else OF_THE_LOSS:
            assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-9), name


@pytest.mark.parametrize(
    ("logits", "targets", "classes"),
    [
        (torch.randn(4, 3), torch.tensor([0, 2, 1, 1]), 1),
        (torch.randn(4, 3, 5, 2), torch.arange(40).reshape(4, 5, 2) % 3, 1),
        (torch.randn(4, 5, 2, 3), torch.arange(40).reshape(4, 5, 2) % 3, 3),
        (torch.randn(4, 3, 5), torch.rand(4, 3, 5).softmax(1), 1),
        (torch.randn(4, 3, 5), torch.tensor([-100, 1, 2, 0]).repeat(5, 1).T.contiguous(), 1),
    ],
)
def test_each_image_s_part_has_its_share_of_the_gradient(logits: Tensor, targets: Tensor, classes: int) -> None:
    logits = logits.double().requires_grad_()
    if targets.is_floating_point():
        targets = targets.double()
    losses, parts = BatchLoss().of(logits, targets)
    expected = F.cross_entropy(logits.movedim(classes, 1), targets)
    torch.testing.assert_close(losses, expected[None])
    (whole,) = torch.autograd.grad(expected, logits, retain_graph=True)
    for image, part in enumerate(parts()):
        (share,) = torch.autograd.grad(part, logits, retain_graph=True)
        torch.testing.assert_close(share[image], whole[image])
        assert not share[torch.arange(4) != image].any()


def test_repeats_with_a_loss_score_as_alone() -> None:
    networks, (x, _) = [case("plain"), case("plain")], batch()
    with torch.no_grad():
        networks[1].get_parameter(next(n for n, _ in networks[1].named_parameters())).mul_(1.5)
    targets = [torch.rand(6, 5).double(), torch.rand(6, 5).double()]
    together = score_repeats(networks, [x, x * 2], targets, OF_THE_LOSS, loss=F.mse_loss)
    for r, found in enumerate(together):
        alone = score(networks[r], x * (r + 1), targets[r], OF_THE_LOSS, loss=F.mse_loss)
        for name in OF_THE_LOSS:
            assert float(found[name]) == pytest.approx(float(alone[name]), rel=1e-9), name


def test_a_loss_module_stays_as_it_was() -> None:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 1.0, 3.0, 1.0])).eval()
    network, (x, y) = case("plain"), batch()
    found = score(network, x, y, "snip", loss=loss)["snip"]
    assert found.value == pytest.approx(score(network, x, y, "snip", loss=loss.double())["snip"].value, rel=1e-12)
    assert not loss.training


def test_labels_beyond_the_outputs_fail_the_proxies_of_classes_alone() -> None:
    network, (x, _) = case("plain"), batch()
    y = torch.tensor([0, 3, 7, 0, 9, 9])  # no classes: counts
    scores = score(network, x, y, ["snip", "ntk_trace"], loss=lambda z, t: F.poisson_nll_loss(z.sum(1), t))
    assert scores["snip"].ok
    assert scores["ntk_trace"].reason == "it needs class indices: label 9 is out of range of 5 outputs"


def fails(*_: Tensor) -> Tensor:
    raise ZeroDivisionError("on purpose")


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        ("mse_loss", None, "loss must be a function of logits and targets, not 'mse_loss'"),
        (nn.CrossEntropyLoss, None, "the loss cannot take logits float32 (6, 5) and targets int64 (6,)"),
        (nn.CrossEntropyLoss(reduction="none"), None, "must return one number, the mean over the images, not a tensor"),
        (lambda *_: 1.0, None, "one number, the mean over the images, not float"),
        (lambda z, y: F.cross_entropy(z, y).detach(), None, "loss must be differentiable"),
        (fails, None, "logits float32 (6, 5) and targets int64 (6,): ZeroDivisionError: on purpose"),
        (F.mse_loss, torch.zeros(6, 1), "Using a target size (torch.Size([6, 1])) that is different"),
        (F.binary_cross_entropy_with_logits, torch.zeros(6, 5).long(), "the loss cannot take"),
    ],
)  # fmt: skip
def test_what_is_no_loss_is_refused_in_one_line(loss: Any, targets: Tensor | None, message: str) -> None:
    x, y = batch(torch.float32)
    with pytest.raises(InputError) as error, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score(case("plain", torch.float32), x, y if targets is None else targets, ["snip", "synflow"], loss=loss)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_classes_in_a_dimension_that_nothing_tells_are_refused() -> None:
    with pytest.raises(InputError, match="the classes may be its second or its last dimension; say which by loss="):
        BatchLoss().of(torch.zeros(4, 3, 3), torch.zeros(4, 3).long())
    with pytest.raises(InputError, match="label 3 is out of range: the network has 3 outputs"):
        BatchLoss(largest_label=3).check(torch.zeros(4, 2, 3), torch.zeros(4, 2).long())
