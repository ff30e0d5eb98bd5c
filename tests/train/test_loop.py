from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import prejudge
from prejudge.data import ImageBatches, batch, load
from prejudge.errors import InputError, PrejudgeError
from prejudge.train import Epoch, Recipe, TrainingFailure, accuracy, fit, loop
from prejudge.train.checkpoint import CheckpointManager
from prejudge.train.device import DeviceConfig
from prejudge.train.learner import SupervisedLearner
from prejudge.train.loop import run_epochs


def tiny_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    text = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|none~2|"
    space = prejudge.space("nasbench201")
    return space.network(space.parse(text), channels=8, cells=1, stages=1, in_channels=1)


def train(seed: int = 0, **numbers: object) -> list[Epoch]:
    recipe = Recipe(**{"epochs": 3, "batch_size": 50, "learning_rate": 0.2} | numbers)  # type: ignore[arg-type]
    data, valid = load("digits"), load("digits", split="valid")
    held = batch(valid, len(valid))
    batches = ImageBatches(data, recipe.batch_size, seed=seed, noise=recipe.noise_std, augment=recipe.augment)
    return fit(
        tiny_network(seed),
        batches,
        recipe,
        evaluate=lambda n: {"valid": accuracy(n, held.inputs, held.targets)},
    )


def test_it_learns_digits() -> None:
    epochs = train()
    losses = [e.train_loss for e in epochs]
    assert losses == sorted(losses, reverse=True)
    assert epochs[-1].accuracies["valid"] > 60 and epochs[-1].train_accuracy > 60  # chance is 10
    assert all(e.seconds > 0 for e in epochs)


def test_the_same_seed_gives_the_same_curve() -> None:
    def curve(seed: int) -> list[tuple[float, float, float]]:
        epochs = train(seed, epochs=2, noise_std=0.1, augment=True, label_smoothing=0.1)
        return [(e.train_loss, e.train_accuracy, e.accuracies["valid"]) for e in epochs]

    assert curve(1) == curve(1)
    assert curve(1) != curve(2)


class TwoBatches:
    """The same two batches in every epoch."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(0)
        self.batches = [
            (torch.randn(n, 5, dtype=dtype, generator=generator), torch.randint(3, (n,), generator=generator))
            for n in (6, 4)
        ]

    def __len__(self) -> int:
        return 2

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)


def test_against_sgd_by_hand() -> None:
    torch.manual_seed(0)
    network = nn.Linear(5, 3).double()
    weight, bias = network.weight.detach().clone(), network.bias.detach().clone()
    recipe = Recipe(epochs=3, batch_size=6, learning_rate=0.3, momentum=0.8, weight_decay=0.01)
    epochs = fit(network, TwoBatches(), recipe)

    velocity = [torch.zeros_like(weight), torch.zeros_like(bias)]
    losses = []
    for step in range(6):
        x, y = TwoBatches().batches[step % 2]
        probabilities = torch.softmax(x @ weight.T + bias, dim=1)
        losses.append(float(-probabilities[range(len(y)), y].log().mean()))
        error = (probabilities - torch.eye(3, dtype=torch.float64)[y]) / len(y)
        rate = 0.15 * (1 + np.cos(np.pi * step / 6))
        for i, (p, gradient) in enumerate([(weight, error.T @ x), (bias, error.sum(0))]):
            gradient = gradient + 0.01 * p
            velocity[i] = 0.8 * velocity[i] + gradient
            p -= rate * (gradient + 0.8 * velocity[i])  # Nesterov
    assert torch.allclose(network.weight, weight, atol=1e-12) and torch.allclose(network.bias, bias, atol=1e-12)
    # The mean over images, not over batches.
    assert epochs[2].train_loss == pytest.approx((6 * losses[4] + 4 * losses[5]) / 10, rel=1e-6)


def test_a_long_gradient_is_scaled_down() -> None:
    torch.manual_seed(0)
    network = nn.Linear(5, 3).double()
    weight, bias = network.weight.detach().clone(), network.bias.detach().clone()
    recipe = Recipe(
        epochs=1, batch_size=6, learning_rate=0.3, momentum=0, nesterov=False, weight_decay=0, max_grad_norm=0.1
    )  # fmt: skip
    fit(network, TwoBatches(), recipe)
    for step, (x, y) in enumerate(TwoBatches().batches):
        error = (torch.softmax(x @ weight.T + bias, dim=1) - torch.eye(3, dtype=torch.float64)[y]) / len(y)
        gradients = error.T @ x, error.sum(0)
        norm = float(sum((g**2).sum() for g in gradients)) ** 0.5
        assert norm > 0.1
        for p, gradient in zip((weight, bias), gradients, strict=True):
            p -= recipe.learning_rate_at(step, 2) * gradient * 0.1 / norm
    # The length is divided by norm + 1e-6.
    assert torch.allclose(network.weight, weight, atol=1e-6) and torch.allclose(network.bias, bias, atol=1e-6)


def test_drop_path_is_set_before_every_epoch() -> None:
    class Dropping(nn.Linear):
        drop_path_prob = 0.7

    torch.manual_seed(0)
    network, seen = Dropping(5, 3).double(), []
    recipe = Recipe(epochs=4, drop_path=0.2)
    fit(network, TwoBatches(), recipe, on_epoch=lambda *_: seen.append(network.drop_path_prob))
    assert seen == pytest.approx([0, 0.05, 0.1, 0.15])
    fit(network, TwoBatches(), Recipe(epochs=1))
    assert network.drop_path_prob == pytest.approx(0.15)  # as it was: this recipe says nothing about it
    with pytest.raises(InputError, match=r"drop_path is 0\.2, but a Linear has no drop-path"):
        fit(nn.Linear(5, 3).double(), TwoBatches(), recipe)


def test_a_loss_that_is_no_number_is_a_failure() -> None:
    with pytest.raises(TrainingFailure, match="loss of epoch 1 is") as caught:
        train(learning_rate=1e30)
    assert isinstance(caught.value, PrejudgeError) and "lower the learning rate" in str(caught.value)


def test_network_without_a_path_trains_to_chance() -> None:
    space = prejudge.space("nasbench201")
    arch = space.parse([0] * 6, notation="official")
    network = space.network(arch, channels=4, cells=1, stages=1, in_channels=1)
    data = load("digits")
    fit(network, ImageBatches(data, 250), Recipe(epochs=1, batch_size=250))
    held = batch(data, 500)
    assert accuracy(network, held.inputs, held.targets) < 15


def test_frozen_parameters_stay() -> None:
    network = tiny_network()
    network.classifier.requires_grad_(False)  # type: ignore[union-attr, operator]
    before = network.classifier.weight.clone()  # type: ignore[union-attr, operator]
    fit(network, ImageBatches(load("digits"), 500), Recipe(epochs=1, batch_size=500))
    assert torch.equal(network.classifier.weight, before)  # type: ignore[union-attr, arg-type]


def test_on_epoch_hears_of_every_epoch() -> None:
    heard: list[tuple[int, Epoch]] = []
    torch.manual_seed(0)
    epochs = fit(nn.Linear(5, 3).double(), TwoBatches(), Recipe(epochs=3), on_epoch=lambda n, e: heard.append((n, e)))
    assert heard == list(enumerate(epochs))


def test_an_epoch_says_its_images_and_its_learning_rate() -> None:
    torch.manual_seed(0)
    first, second = fit(nn.Linear(5, 3).double(), TwoBatches(), Recipe(epochs=2, learning_rate=0.3))
    assert first.images == 10 and first.images_per_second == 10 / first.seconds
    assert first.learning_rate == 0.3 and second.learning_rate == pytest.approx(0.15)


def test_a_loss_that_is_no_number_is_noticed_within_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "WATCH", 2)
    with pytest.raises(TrainingFailure, match=r"loss of epoch 1 is not finite in its first [2468] steps; lower"):
        train(learning_rate=1e30)


def test_the_best_epoch_is_the_first_of_equals(tmp_path: Path) -> None:
    accuracies = iter([3.0, 5.0, 4.0, 5.0])
    begun: list[int] = []

    def run(epochs: int) -> list[Epoch]:
        torch.manual_seed(0)
        network = nn.Linear(5, 3).double()
        learner = SupervisedLearner(network, Recipe(epochs=4, learning_rate=0.1), DeviceConfig())
        return run_epochs(
            learner,
            TwoBatches(),
            epochs,
            device_config=DeviceConfig(),
            evaluate=lambda _: {"valid": next(accuracies)},
            checkpoints=keeper,
            best_by="valid",
            on_start=lambda history: begun.append(len(history)),
        )

    keeper = CheckpointManager(tmp_path, {})
    run(3)
    assert [e.accuracies["valid"] for e in run(4)] == [3.0, 5.0, 4.0, 5.0]
    best, last = keeper.best(), keeper.latest()
    assert best is not None and best.epoch == 2 and last is not None and last.epoch == 4
    assert begun == [0, 3]


def test_a_failure_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Linear(5, 3).double()
    keeper, recipe = CheckpointManager(tmp_path, {}), Recipe(epochs=3, learning_rate=0.1)

    def spoil(number: int, _: Epoch) -> None:
        if number == 1:
            network.weight.data.fill_(torch.nan)

    with pytest.raises(TrainingFailure, match=r"loss of epoch 3 is nan; lower .* the checkpoint of epoch 2"):
        run_epochs(
            SupervisedLearner(network, recipe, DeviceConfig()), TwoBatches(), 3,
            device_config=DeviceConfig(), checkpoints=keeper, on_epoch=spoil,
        )  # fmt: skip
    kept = keeper.latest()
    assert kept is not None and kept.epoch == 2 and kept.state["learner"]["network"]["weight"].isfinite().all()


class Fixed(nn.Module):
    """Answers with the logits that it is given as inputs."""

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        return x


def test_accuracy_counts_the_largest_logit_and_never_nan() -> None:
    logits = torch.tensor([[1.0, 2.0], [3.0, 0.0], [float("nan"), 1.0], [0.0, 1.0]])
    network = Fixed().train()
    assert accuracy(network, logits, torch.tensor([1, 0, 0, 0])) == 50.0
    assert accuracy(network, logits, torch.tensor([1, 0, 0, 0]), batch_size=3) == 50.0
    assert network.training  # as it was


@pytest.mark.gpu
def test_trains_on_cuda() -> None:
    network = tiny_network()
    data = load("digits")
    epochs = fit(network, ImageBatches(data, 50), Recipe(epochs=3, batch_size=50, learning_rate=0.2), device="cuda")
    assert epochs[-1].train_accuracy > 60
