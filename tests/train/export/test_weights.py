from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

import prejudge
from prejudge.errors import FileFormatError, InputError, MissingDataError, PrejudgeError
from prejudge.train.export.third_party import read_state_dict
from prejudge.train.export.weights import WeightsMetadata, export_weights, load_weights

CELL = "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
SMALL = {"channels": 4, "cells": 1}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("darts", "DARTS_V2", {"channels": 4, "cells": 3, "auxiliary": True}),
    ("darts", "DARTS_V1", {"channels": 4, "cells": 3, "stem": "imagenet", "form": "stacnas", "drop_path": 0.2}),
    ("nasbench201", CELL, SMALL),
    ("nasbench201", CELL, {**SMALL, "form": "zero-cost-nas"}),
    ("nasbench101", "110.01.1:conv3x3,maxpool3x3", {"channels": 8, "cells": 1}),
]


def small(**numbers: Any) -> nn.Module:
    torch.manual_seed(0)
    return prejudge.space("nasbench201").network(CELL, **{**SMALL, **numbers})


def export(path: Path, network: nn.Module | None = None, **options: Any) -> WeightsMetadata:
    given = {"space": "nasbench201", "architecture": CELL, "macro": SMALL, **options}
    return export_weights(network or small(), path, **given)


@pytest.mark.parametrize(("name", "text", "numbers"), CASES)
def test_a_file_gives_the_network_back(name: str, text: str, numbers: dict[str, Any], tmp_path: Path) -> None:
    space = prejudge.space(name)
    network = space.network(text, **numbers)
    x = torch.randn(4, 3, 32, 32)
    network(x)  # moves the statistics
    path = tmp_path / "w.safetensors"
    described = export_weights(network, path, space=space, architecture=text, macro=space.macro(**numbers))
    state = torch.get_rng_state()
    loaded, found = load_weights(path)
    assert torch.get_rng_state().equal(state), "random numbers were drawn"
    assert found == described and space.parse(found.architecture) == space.parse(text)
    assert found.macro == {**space.default_macro, **numbers}
    assert type(loaded) is type(network) and not loaded.training
    with torch.no_grad():
        assert loaded(x).equal(network.eval()(x))
    loaded.train()(x).sum().backward()
    assert all(p.grad is not None or p.numel() == 0 for n, p in loaded.named_parameters() if "auxiliary" not in n)
    assert set(read_state_dict(path)) == set(network.state_dict())


def test_what_else_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    names = ["cat", 'dog "1"', "Füchse", *"abcdefg"]
    export(
        path,
        classes=names,
        mean=(0.5, 0.25, 0.125),
        std=[0.2] * 3,
        image_size=28,
        provenance={"accuracy": 91.5, "data": {"name": "digits"}},
    )
    _, found = load_weights(path)
    assert found.classes == tuple(names) and found.mean == (0.5, 0.25, 0.125) and found.std == (0.2, 0.2, 0.2)
    assert found.image_size == 28 and found.provenance == {"accuracy": 91.5, "data": {"name": "digits"}}
    with safetensors.safe_open(path, framework="pt") as file:
        texts = file.metadata()
    assert texts["format"] == "pt" and texts["space"] == "nasbench201" and texts["architecture"] == CELL
    assert json.loads(texts["macro"])["channels"] == 4


def test_wrapped_networks_other_layouts_and_types(tmp_path: Path) -> None:
    network = small()
    path = tmp_path / "w.safetensors"
    export(path, nn.DataParallel(network).to(memory_format=torch.channels_last))
    loaded, _ = load_weights(path)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), network.eval()(x))
    export(path, network.bfloat16())
    loaded, _ = load_weights(path)
    assert next(loaded.parameters()).dtype == torch.bfloat16


def test_the_auxiliary_head_can_be_left_out(tmp_path: Path) -> None:
    numbers = {"channels": 4, "cells": 3}
    network = prejudge.space("darts").network("DARTS_V2", auxiliary=True, **numbers)
    path = tmp_path / "w.safetensors"
    export_weights(network, path, space="darts", architecture="DARTS_V2", macro=numbers)
    loaded, _ = load_weights(path)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert loaded(x).equal(network.eval()(x))
    assert not any(name.startswith("auxiliary") for name in read_state_dict(path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"macro": {**SMALL, "channels": 8}}, "another architecture: .* are of another shape"),
        ({"macro": {"channels": 4, "cells": 2}}, "are missing"),
        ({"macro": {"width": 3}}, "unknown nasbench201 macro field"),
        ({"classes": ["a"]}, "1 names of classes, but the network tells 10 apart"),
        ({"mean": (0.5,)}, "mean has 1 values, but images have 3 channels"),
        ({"provenance": {"path": Path("x")}}, "plain JSON"),
        ({"space": "nasbench301"}, "unknown space"),
        ({"architecture": "x"}, "nasbench201"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        export(tmp_path / "w.safetensors", **options)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    export(path)
    before = path.read_bytes()

    def full(self: Path, content: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(PrejudgeError, match="disk is full"):
        export(path)
    assert path.read_bytes() == before


def header(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def put_header(path: Path, given: dict[str, Any], numbers: bytes) -> None:
    text = json.dumps(given).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)


@pytest.mark.parametrize(
    "change",
    [
        {"prejudge_weights": "2"},
        {"space": "nasbench301"},
        {"space": "darts"},
        {"architecture": "|x~0|"},
        {"architecture": CELL.replace("nor_conv_3x3", "nor_conv_1x1")},
        {"architecture": "(" * 100_000},
        {"macro": "{}"},
        {"macro": "[1, 2]"},
        {"macro": "{"},
        {"macro": "[" * 100_000},
        {"macro": '{"channels": 1000000000}'},
        {"macro": '{"channels": 4, "cells": 1000000000}'},
        {"macro": '{"channels": 4, "cells": 1, "stages": 4000}'},
        {"macro": '{"channels": 4, "cells": 4000, "stages": 4000}'},
        {"macro": '{"channels": 4, "cells": 1, "num_classes": 11}'},
        {"macro": '{"channels": 4, "cells": "1"}'},
        {"macro": '{"channels": 4, "cells": 1, "__class__": 1}'},
        {"classes": '["a"]'},
        {"classes": "3"},
        {"mean": '["a", "b", "c"]'},
        {"std": "[1]"},
        {"image_size": "x"},
        {"provenance": "[1]"},
        {"provenance": None},
    ],
)
def test_a_hostile_description_is_a_format_error(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    export(path)
    given, numbers = header(path)
    given["__metadata__"] = {k: v for k, v in (given["__metadata__"] | change).items() if v is not None}
    put_header(path, given, numbers)
    with pytest.raises(FileFormatError) as caught:
        load_weights(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_hostile_headers_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    export(path)
    whole = path.read_bytes()
    given, numbers = header(path)
    weight = given["classifier.weight"]

    def altered(**change: Any) -> bytes:
        put_header(path, {**given, "classifier.weight": {**weight, **change}}, numbers)
        return path.read_bytes()

    contents = [
        b"",
        b"text",
        struct.pack("<Q", 1 << 62) + whole[8:],
        struct.pack("<Q", 3) + b"{}}",
        struct.pack("<Q", 2) + b"{}",
        *(whole[: i * len(whole) // 8] for i in range(1, 8)),
        altered(shape=[1 << 40, 1 << 40]),
        altered(shape=[10, -4]),
        altered(dtype="I32"),
        altered(dtype="X9"),
        altered(data_offsets=[0, 1 << 50]),
        altered(data_offsets=[8, 0]),
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(FileFormatError) as caught:
            load_weights(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(MissingDataError):
        load_weights(tmp_path / "nothing")
    safetensors.torch.save_file({"a": torch.ones(2)}, path)
    with pytest.raises(FileFormatError, match="not exported by prejudge"):
        load_weights(path)


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    export(path)
    whole, rng = path.read_bytes(), random.Random(0)
    (size,) = struct.unpack("<Q", whole[:8])
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.randrange(8 + size)] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            load_weights(path)
        except FileFormatError:
            continue
