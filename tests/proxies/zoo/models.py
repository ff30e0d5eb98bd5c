"""The networks of the zoo: small variants of the families of timm, torchvision and transformers, weights by formula.

Their own initial weights would hide errors: heads and last scales are zero, and layer scales 1e-5, so that whole
branches would weigh nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CLASSES = 7


@dataclass(frozen=True)
class Entry:
    """One network of the zoo.

    Attributes:
        library: The library that it comes from.
        family: The module of that library.
        name: Its name there.
        make: Makes it.
        shape: Of one input.
        more: Ends of the names of prunable weights that no convolution or linear layer holds.
        gain: Of its matrices. Where attention has no layer norm, synflow's network of absolute weights needs a small
            one: else its softmax chooses between huge numbers by their last digits.
    """

    library: str
    family: str
    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    more: tuple[str, ...] = ()
    gain: float = 1.0

    def build(self, seed: int = 0) -> nn.Module:
        """The network, without anything random, with weights by formula."""
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return fill(without_chance(self.make()), seed, self.gain)

    def batch(self, n: int = 3) -> tuple[Tensor, Tensor]:
        """Inputs and class indices; two of the first three share a class."""
        x = torch.as_tensor(np.random.RandomState(0).randn(n, *self.shape), dtype=torch.float32)
        return x, torch.tensor([0, 1, 1, *range(2, n - 1)][:n]) % CLASSES


def without_chance(network: nn.Module) -> nn.Module:
    """The network without dropout and dropped paths."""
    for module in network.modules():
        for name in ("p", "drop_prob", "drop_rate", "drop_path_rate", "dropout_p"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return network


def fill(network: nn.Module, seed: int, gain: float = 1.0) -> nn.Module:
    """Give the parameters weights by formula: matrices with a gain, scales about 1, small biases."""
    with torch.no_grad():
        for k, (name, parameter) in enumerate(network.named_parameters()):
            drawn = np.random.RandomState(seed + k).standard_normal(tuple(parameter.shape))
            if parameter.dim() > 1:
                drawn = gain * drawn / np.sqrt(max(parameter[0].numel(), 1))
            elif any(word in name.rpartition(".")[2] for word in ("weight", "gamma", "scale", "gain")):
                drawn = 1 + 0.1 * drawn
            else:
                drawn = 0.05 * drawn
            parameter.copy_(torch.as_tensor(drawn))
    return network


def _timm(
    family: str, name: str, image: int = 32, *, more: tuple[str, ...] = (), gain: float = 1.0, **options: Any
) -> Entry:
    def make() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name, num_classes=CLASSES, **options)
        return network

    return Entry("timm", family, name, make, (3, image, image), more, gain)


def _class(library: str, module: str, name: str, *args: Any, image: int = 32, **options: Any) -> Entry:
    """A network of a class that has no small variant with a name."""

    def make() -> nn.Module:
        import importlib

        cls = getattr(importlib.import_module(f"{library}.models.{module}"), name)
        network: nn.Module = cls(*args, num_classes=CLASSES, **options)
        return network

    return Entry(library, module, name, make, (3, image, image))


def _torchvision(name: str, image: int = 32, **options: Any) -> Entry:
    def make() -> nn.Module:
        import torchvision

        network: nn.Module = getattr(torchvision.models, name)(num_classes=CLASSES, **options)
        return network

    return Entry("torchvision", name.partition("_")[0], name, make, (3, image, image))


class OfEmbeddings(nn.Module):
    """A network of tokens, from their embeddings."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(inputs_embeds=x).logits
        return logits


def _transformers(name: str, *, image: int = 32, text: bool = False, **options: Any) -> Entry:
    def make() -> nn.Module:
        import transformers

        config = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **options)
        kind = "Sequence" if text else "Image"
        network: nn.Module = getattr(transformers, f"{name}For{kind}Classification")(config)
        return OfEmbeddings(network) if text else network

    return Entry("transformers", name, name, make, (6, 32) if text else (3, image, image))


def _resnet() -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [1, 1, 1, 1], num_classes=CLASSES, groups=4, width_per_group=2)


def _mvit() -> nn.Module:
    from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg

    config = MultiScaleVitCfg(depths=(1, 1, 1, 1), embed_dim=16, num_heads=1)
    return MultiScaleVit(config, img_size=32, num_classes=CLASSES)


_TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 50}
_IMAGES = {**{k: v for k, v in _TEXT.items() if k != "vocab_size"}, "image_size": 32, "patch_size": 8}
_PYRAMID = {"embed_dims": (16, 32, 64, 64), "num_heads": (1, 2, 4, 4), "depths": (1, 1, 2, 1)}

TIMM = [
    _timm("vision_transformer", "test_vit", img_size=32),
    _timm("vision_transformer", "test_vit3", img_size=32),
    _timm("vision_transformer", "test_vit4", img_size=32),
    _timm("vision_transformer_relpos", "test_vit_relpos", img_size=32),
    _timm("deit", "deit_tiny_distilled_patch16_224", img_size=32, depth=2),
    _timm("eva", "eva02_tiny_patch14_224", 28, img_size=28, depth=2),
    _timm("beit", "beit_base_patch16_224", img_size=32, embed_dim=48, depth=2, num_heads=2),
    _timm("xcit", "xcit_nano_12_p16_224", img_size=32, depth=2),
    _timm("cait", "cait_xxs24_224", img_size=32, depth=2),
    _timm("coat", "coat_lite_tiny", img_size=32, embed_dims=(32, 32, 64, 64), serial_depths=(1, 1, 1, 1)),
    _timm("coat", "coat_tiny", img_size=32, embed_dims=(32, 32, 32, 32), serial_depths=(1, 1, 1, 1), parallel_depth=1),
    _timm("convit", "convit_tiny", img_size=32, embed_dim=32, depth=3, local_up_to_layer=2),
    _timm("pit", "pit_ti_224", img_size=32, base_dims=(16, 16, 16), depth=(1, 1, 1)),
    _timm("levit", "levit_128s", 64, img_size=64, gain=0.1),
    _class("timm", "crossvit", "CrossVit", img_size=48, embed_dim=(16, 24), depth=((1, 2, 0), (1, 1, 0)),
           num_heads=(2, 2), img_scale=(1.0, 1.0), patch_size=(12, 16), image=48),
    _timm("pvt_v2", "pvt_v2_b0", depths=(1, 1, 1, 1)),
    _timm("swiftformer", "swiftformer_xs", more=(".w_g",)),
    _class("timm", "efficientformer", "EfficientFormer", (1, 1, 1, 2), (8, 16, 24, 32), num_vit=1, image=224),
    _timm("efficientformer_v2", "efficientformerv2_s0", 64, img_size=64),
    _timm("efficientvit_mit", "efficientvit_b0", gain=0.1),
    _timm("efficientvit_msra", "efficientvit_m0", 64, img_size=64),
    _timm("edgenext", "edgenext_xx_small"),
    _timm("byobnet", "mobilevit_xxs"),
    _timm("byobnet", "test_byobnet"),
    _timm("maxxvit", "test_coatnet", img_size=32),
    _timm("mlp_mixer", "gmlp_ti16_224", img_size=32),
    _class("timm", "mlp_mixer", "MlpMixer", img_size=32, patch_size=8, embed_dim=32, num_blocks=2),
    _class("timm", "convmixer", "ConvMixer", 16, 2, patch_size=4),
    _timm("convnext", "test_convnext"),
    _timm("inception_next", "inception_next_atto"),
    _timm("mambaout", "test_mambaout"),
    _class("timm", "metaformer", "MetaFormer", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
    _timm("starnet", "starnet_s050"),
    _timm("fasternet", "fasternet_t0"),
    _timm("resnet", "test_resnet"),
    _timm("resnet", "resnet10t", channels=(16, 16, 32, 32)),
    _timm("resnet", "seresnext26t_32x4d", layers=(1, 1, 1, 1), channels=(16, 16, 32, 32)),
    _timm("nfnet", "test_nfnet"),
    _timm("vision_transformer_hybrid", "vit_tiny_r_s16_p8_224", img_size=32, depth=2),
    _timm("efficientnet", "test_efficientnet"),
    _timm("efficientnet", "test_efficientnet_ln"),
    _timm("efficientnet", "mobilenetv2_035"),
    _timm("efficientnet", "mnasnet_small"),
    _timm("efficientnet", "tf_efficientnet_lite0"),
    _timm("mobilenetv3", "mobilenetv3_small_050"),
    _timm("mobilenetv3", "mobilenetv4_conv_small_035"),
    _timm("mobilenetv3", "lcnet_035"),
    _timm("ghostnet", "ghostnet_050"),
    _timm("repghost", "repghostnet_050"),
    _timm("regnet", "regnetx_002"),
    _timm("dla", "dla46x_c"),
    _timm("rexnet", "rexnet_100"),
    _timm("shvit", "shvit_s1", 64),
    _timm("tiny_vit", "tiny_vit_5m_224", embed_dims=(16, 32, 48, 64), num_heads=(1, 2, 2, 4), depths=(1, 1, 2, 1)),
    Entry("timm", "mvitv2", "MultiScaleVit", _mvit, (3, 32, 32)),
    _timm("sknet", "skresnet18", channels=(16, 16, 32, 32)),
    _timm("densenet", "densenet121", growth_rate=8, block_config=(2, 2, 2, 2)),
    _timm("resnetv2", "resnetv2_18", channels=(16, 16, 32, 32)),
    _timm("swin_transformer", "swin_tiny_patch4_window7_224",
          img_size=32, embed_dim=24, depths=(2, 2), num_heads=(2, 4), window_size=4),
    _timm("swin_transformer_v2", "swinv2_tiny_window8_256",
          img_size=32, embed_dim=24, depths=(2, 2), num_heads=(2, 4), window_size=4),
    _class("timm", "volo", "VOLO", (1, 1, 1, 1), img_size=32, embed_dims=(24, 48, 48, 48), num_heads=(2, 2, 2, 2)),
    _class("timm", "nest", "Nest", img_size=32, embed_dims=(16, 32, 64), num_heads=(1, 2, 4), depths=(1, 1, 2)),
    _timm("twins", "twins_svt_small", 64, **_PYRAMID),
    _timm("davit", "davit_tiny", window_size=4, **{**_PYRAMID, "depths": (1, 1, 1, 1)}),
    _class("timm", "focalnet", "FocalNet", embed_dim=16, depths=(1, 1, 1, 1)),
    _timm("hiera", "hiera_tiny_224", 64, img_size=64, stages=(1, 1, 1, 1), embed_dim=24),
    _timm("sequencer", "sequencer2d_s", img_size=32,
          layers=(1, 1, 1, 1), embed_dims=(32, 32, 32, 32), hidden_sizes=(8, 8, 8, 8)),
    _timm("visformer", "visformer_tiny", img_size=32, embed_dim=48, depth=(1, 1, 1), num_heads=3),
    _timm("naflexvit", "naflexvit_base_patch16_gap", embed_dim=48, depth=2, num_heads=2),
]  # fmt: skip

TORCHVISION = [
    Entry("torchvision", "resnet", "ResNet", _resnet, (3, 32, 32)),
    _class("torchvision", "vision_transformer", "VisionTransformer", 32, 8, 2, 2, 32, 64),
    _class("torchvision", "swin_transformer", "SwinTransformer", [4, 4], 16, [2, 1], [2, 2], [4, 4]),
    _class("torchvision", "maxvit", "MaxVit", (64, 64), 8, 2, [8, 16], [1, 1], 8, 0.0, image=64),
    _class("torchvision", "densenet", "DenseNet", 8, (2, 2, 2, 2), 16),
    _torchvision("squeezenet1_1"),
    _torchvision("mobilenet_v2", width_mult=0.25),
    _torchvision("mobilenet_v3_small", width_mult=0.25),
    _torchvision("shufflenet_v2_x0_5"),
    _torchvision("mnasnet0_5"),
]

TRANSFORMERS = [
    _transformers("Bert", text=True, **_TEXT),
    _transformers("DistilBert", text=True, dim=32, n_layers=2, n_heads=2, hidden_dim=48, vocab_size=50),
    _transformers("Roberta", text=True, **_TEXT),
    _transformers("Albert", text=True, embedding_size=32, **_TEXT),
    _transformers("Electra", text=True, embedding_size=32, **_TEXT),
    _transformers("GPT2", text=True, n_embd=32, n_layer=2, n_head=2, vocab_size=50, pad_token_id=0),
    _transformers("ViT", **_IMAGES),
    _transformers("DeiT", **_IMAGES),
    _transformers("Swin", image_size=32, patch_size=4, embed_dim=16, depths=(1, 1), num_heads=(2, 2), window_size=4),
    _transformers("ConvNext", num_stages=4, hidden_sizes=(8, 16, 24, 32), depths=(1, 1, 1, 1)),
    _transformers("ResNet", embedding_size=8, hidden_sizes=(8, 16, 24, 32), depths=(1, 1, 1, 1), layer_type="basic"),
    _transformers("MobileViT", image_size=32, hidden_sizes=(16, 24, 32), neck_hidden_sizes=(8, 8, 16, 16, 24, 24, 32)),
    _transformers("PoolFormer", hidden_sizes=(8, 16, 24, 32), depths=(1, 1, 1, 1)),
]

FAST = {"test_vit", "test_resnet", "test_byobnet", "MlpMixer", "SwinTransformer", "Albert"}

ZOO = [*TIMM, *TORCHVISION, *TRANSFORMERS]
