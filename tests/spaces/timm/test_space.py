"""timm's models as a space: names, patterns, networks, counts, and one protocol for each version of timm."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prejudge.errors import InputError
from prejudge.spaces import select, space

pytest.importorskip("timm")
S = space("timm")


def test_names_with_and_without_tag_are_one_architecture() -> None:
    assert str(S.parse("resnet18")) == str(S.parse("resnet18.a1_in1k")) == S.canonical(S.parse(" resnet18 "))
    assert S.parse("resnet18") == S[S.index(S.parse("resnet18"))] == S.decode(S.encode(S.parse("resnet18")))
    assert S.size == len(list(S)) == len(S.unique()) == S.choices[0] > 1000
    assert S.sample(np.random.default_rng(0)) in set(S)
    assert S.params(S.parse("resnet18"), num_classes=10) == 11_181_642


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnte18", "no model 'resnte18'; did you mean .*resnet18"),
        ("resnet18.a1_in1", "no tag 'a1_in1'; did you mean .*a1_in1k"),
        ("resnot*", "no model that matches 'resnot\\*'"),
    ],
)
def test_wrong_names_are_refused_with_what_is_near(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        select(S, text)


def test_selections() -> None:
    found = [str(a) for a in select(S, "resnet18*, vit_tiny_patch16_*,resnet18.a1_in1k")]
    assert "resnet18" in found and "vit_tiny_patch16_224" in found and len(found) == len(set(found))
    assert select(S, "random:5", seed=1) == select(S, "random:7", seed=1)[:5]
    assert len(select(S, "all")) == len(S)


def test_what_names_do_not_have_is_refused() -> None:
    arch, rng = S.parse("resnet18"), np.random.default_rng(0)
    for ask in (lambda: S.mutate(arch, rng), lambda: S.neighbors(arch), lambda: S.graphs(arch), lambda: S.flops(arch)):
        with pytest.raises(InputError, match="timm's models"):
            ask()
    with pytest.raises(InputError, match="not 18"):
        S.parse(18)


def test_networks_fit_the_images_and_have_no_random_path() -> None:
    import torch

    x = torch.randn(2, 1, 32, 32)
    for name in ("vit_tiny_patch16_224", "ghostnet_050", "rexnet_100"):
        network = S.network(S.parse(name), num_classes=7, in_channels=1, image_size=32)
        assert network.training
        first, second = network(x), network(x)
        assert first.shape == (2, 7) and torch.equal(first, second), name


def test_models_are_scored_into_a_cache_of_this_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prejudge.cache import ScoreCache, fill
    from prejudge.data.loading import load

    data = load("digits")
    with ScoreCache(tmp_path / "timm.h5") as cache:
        archs = select(S, "test_resnet,test_efficientnet,vit_tiny_patch16_224")  # no patch of 16 in digits
        protocol = fill(cache, S, archs, data, ["params", "flops", "snip"], batch_size=8)
        assert protocol.init.startswith("timm 1.") and dict(protocol.macro)["image_size"] == data.image_size
        frame = cache.frame(protocol)
        assert frame.loc[["test_resnet", "test_efficientnet"]].notna().all(axis=None)
        failures = cache.failures(protocol)
        assert set(failures["architecture"]) == {"vit_tiny_patch16_224"} and failures["reason"].str.len().all()
        monkeypatch.setattr("prejudge.spaces.timm.space.installed_version", lambda: "0.0")
        assert fill(cache, S, archs[:1], data, ["params"], batch_size=8).digest != protocol.digest
        with pytest.raises(InputError, match="image_size=224 does not fit"):
            fill(cache, S, archs[:1], data, ["params"], batch_size=8, macro={"image_size": 224})


def test_timm_is_not_imported_before_it_is_used_and_its_absence_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['timm'] = None\n"
        "import prejudge; s = prejudge.space('timm'); s.extent, s.default_macro; assert 'torch' not in sys.modules\n"
        "from prejudge.errors import PrejudgeError\n"
        "try: s.parse('resnet18')\n"
        "except PrejudgeError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'prejudge[timm]'" in found.stdout
