"""A test suite that any proxy has to pass, third-party ones too.

In your own tests, with pytest::

    from prejudge.proxies.contract import ProxyContract

    class TestMine(ProxyContract):
        proxy = "./mine.py:my_score"      # or the name under which your package registers it

:class:`TokenProxyContract` makes the same promises of it on a network of tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from prejudge.proxies.registry import ProxyRequest, resolve
from prejudge.proxies.score import Score
from prejudge.proxies.scoring import score


class ProxyContract:
    """Subclass it, set :attr:`proxy`, and pytest collects one test for each promise of the proxy's declaration."""

    proxy: str

    def network(self) -> nn.Module:
        """A small convolutional network; replace it where the proxy is for others."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Conv2d(8, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(32, 5),
            )

    def batch(self) -> tuple[Any, Tensor]:
        """Eight images ``(8, 3, 12, 12)`` and their labels; replace it together with :meth:`network`."""
        generator = torch.Generator().manual_seed(1)
        return torch.randn(8, 3, 12, 12, generator=generator), torch.arange(8) % 5

    def request(self) -> ProxyRequest:
        """The proxy with its options."""
        return resolve([self.proxy])[0]

    def score(self, network: nn.Module, **options: Any) -> Score:
        """Its score of a network on :meth:`batch`."""
        inputs, targets = self.batch()
        return score(network, inputs, targets, [self.request()], **options)[str(self.request())]

    def test_it_says_what_it_is(self) -> None:
        """The register shows a summary and a reference."""
        proxy = self.request().proxy
        assert proxy.summary, f"{proxy.name}: the function has no docstring"
        assert proxy.reference, f"{proxy.name}: no reference"

    def test_it_gives_a_finite_number(self) -> None:
        """An ordinary network has a score."""
        found = self.score(self.network())
        assert found.ok, found.reason

    def test_it_leaves_the_network_and_the_random_state_alone(self) -> None:
        """Weights, buffers, gradients and mode are as before."""
        network = self.network()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        state = torch.get_rng_state()
        self.score(network)
        assert torch.equal(torch.get_rng_state(), state), "the random state moved"
        assert network.training, "the mode changed"
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[name]), f"{name} changed"
        assert all(p.grad is None for p in network.parameters()), "gradients were left behind"

    def test_it_repeats_itself(self) -> None:
        """The same seed gives the same score; a deterministic proxy ignores the seed."""
        network = self.network()
        assert self.score(network, seed=1).value == self.score(network, seed=1).value
        if self.request().proxy.deterministic:
            assert self.score(network, seed=1).value == self.score(network, seed=2).value

    def test_it_ignores_labels_unless_it_declares_them(self) -> None:
        """Without ``needs_labels`` the targets change nothing and may be missing."""
        request = self.request()
        if request.proxy.needs_labels:
            return
        inputs, targets = self.batch()
        without = score(self.network(), inputs, None, [request])[str(request)]
        shifted = score(self.network(), inputs, targets.roll(1, 0), [request])[str(request)]
        assert without.ok, without.reason
        assert without.value == shifted.value

    def test_it_declares_what_it_reads(self) -> None:
        """Everything it reads is planned, so that it costs no pass of its own."""
        from prejudge.proxies.probe import Probe

        request = self.request()
        inputs, targets = self.batch()
        probe = Probe(self.network(), inputs, targets, reads=request.proxy.reads)
        request.proxy.function(probe, **dict(request.options))
        undeclared = probe.read - set(request.proxy.reads)
        assert not undeclared, f"{request.proxy.name} reads {sorted(undeclared)} without declaring it"

    def test_it_stands_in_one_batch_of_its_least_size(self) -> None:
        """``min_batch`` images are enough for a score or a stated failure."""
        request = self.request()
        inputs, targets = self.batch()
        n = request.proxy.min_batch
        found = score(self.network(), _first(inputs, n), targets[:n], [request])[str(request)]
        assert found.ok or found.reason


def _first(inputs: Any, n: int) -> Any:
    if isinstance(inputs, dict):
        return {name: value[:n] for name, value in inputs.items()}
    return tuple(value[:n] for value in inputs) if isinstance(inputs, tuple) else inputs[:n]


class TokenProxyContract(ProxyContract):
    """The same on a small transformer, which is called with tokens and a mask by name.

    A proxy that runs the network itself passes it with ``probe.logits_of(probe.network)``.
    """

    def network(self) -> nn.Module:
        """One attention over embedded tokens, with ReLUs."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return _Transformer()

    def batch(self) -> tuple[Any, Tensor]:
        """Eight sequences of tokens ``(8, 6)``, some shorter, and their labels."""
        ids = torch.randint(0, 20, (8, 6), generator=torch.Generator().manual_seed(1))
        mask = torch.arange(6) < torch.tensor([6, 4, 6, 5, 6, 6, 3, 6])[:, None]
        return {"input_ids": ids, "attention_mask": mask.long()}, torch.arange(8) % 5


class _Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        tokens = self.layer(self.table(input_ids), src_key_padding_mask=attention_mask == 0)
        pooled: Tensor = self.head(tokens.mean(1))
        return pooled
