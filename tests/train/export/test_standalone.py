from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import prejudge
from prejudge.errors import InputError
from prejudge.spaces.base import Space
from prejudge.train.export.standalone import standalone_source
from prejudge.train.export.weights import export_weights

OTHER_OPERATIONS = (
    "Genotype(normal=[('conv_7x1_1x7', 0), ('sep_conv_7x7', 1), ('none', 2), ('dil_conv_5x5', 0)], "
    "normal_concat=[3, 1], "
    "reduce=[('avg_pool_3x3', 0), ('conv_7x1_1x7', 1), ('skip_connect', 0), ('none', 1)], reduce_concat=[2, 3])"
)
DARTS: dict[str, dict[str, Any]] = {
    "cifar": {"channels": 4, "cells": 5},
    "imagenet": {"channels": 4, "cells": 4, "stem": "imagenet", "num_classes": 7},
    "auxiliary": {"channels": 4, "cells": 3, "auxiliary": True},
    "imagenet-auxiliary": {"channels": 4, "cells": 3, "auxiliary": True, "stem": "imagenet"},
    "stacnas-zero": {"channels": 4, "cells": 3, "form": "stacnas-zero"},
    "stacnas": {"channels": 4, "cells": 3, "form": "stacnas", "in_channels": 1, "drop_path": 0.2},
    "ista": {"channels": 4, "cells": 3, "form": "ista-onestage", "auxiliary": True, "drop_path": 0.1},
}
CELLS_201 = (
    "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|",
    "|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_1x1~0|skip_connect~1|nor_conv_3x3~2|",
)
CASES: list[tuple[str, str, dict[str, Any]]] = [
    *(("darts", "DARTS_V2", numbers) for numbers in DARTS.values()),
    ("darts", OTHER_OPERATIONS, {"channels": 5, "cells": 2, "form": "stacnas"}),
    ("darts-s2", "", {"channels": 4, "cells": 1}),
    *(("nasbench201", cell, {"channels": 4, "cells": 1}) for cell in CELLS_201),
    ("nasbench201", CELLS_201[0], {"channels": 4, "cells": 1, "form": "zero-cost-nas"}),
    ("nasbench201", CELLS_201[0], {"channels": 3, "cells": 2, "stem": False, "stages": 2}),
    ("nasbench101", "110.01.1:conv3x3,maxpool3x3", {"channels": 8, "cells": 1}),
    ("nasbench101", "1101.101.11.1:conv3x3,conv1x1,maxpool3x3", {"channels": 9, "cells": 2, "form": "zero-cost-nas"}),
    (
        "nasbench101",
        "11001.1100.010.01.1:conv3x3,conv1x1,maxpool3x3,conv3x3",
        {"channels": 11, "cells": 1, "stacks": 2},
    ),
    ("nasbench101", "1:", {"channels": 4, "cells": 1}),
    ("nats-size", "8:16:8:8:24", {}),
]
RUNNER = """
import importlib.util, sys, torch
sys.modules["prejudge"] = None  # an import of it would fail
for line in open(sys.argv[1]):
    folder = line.strip()
    spec = importlib.util.spec_from_file_location("network", f"{folder}/network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Network()
    given = torch.load(f"{folder}/weights.pt", weights_only=True)
    assert list(network.state_dict()) == list(given["state"]), folder
    network.load_state_dict(given["state"])
    network.eval()
    with torch.no_grad():
        outputs = {"logits": network(given["x"])}
        if getattr(network, "auxiliary_head", None) is not None:
            outputs["auxiliary"] = network(given["x"], auxiliary=True)[1]
        network.train()
        if getattr(network, "drop_path_prob", 0):
            torch.manual_seed(5)
        outputs["trained"] = network(given["x"])
    torch.save(outputs, f"{folder}/outputs.pt")
"""


def randomize(network: torch.nn.Module) -> None:
    """Weights and statistics that let every layer be seen in the logits."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor += 0.1 * torch.randn(tensor.shape, generator=generator).abs()
            else:
                assert name.endswith("num_batches_tracked")


def test_the_source_computes_what_the_network_computes(tmp_path: Path) -> None:
    expected: list[dict[str, torch.Tensor]] = []
    folders = []
    for number, (name, text, numbers) in enumerate(CASES):
        space = prejudge.space(name)
        arch = space.parse(text) if text else space.sample(np.random.default_rng(0))
        torch.manual_seed(number)
        network = space.network(arch, **numbers)
        randomize(network)
        folder = tmp_path / str(number)
        folder.mkdir()
        source = standalone_source(name, arch, numbers)
        assert standalone_source(space, str(arch), space.macro(**numbers)) == source
        (folder / "network.py").write_text(source)
        side = 48 if numbers.get("stem") == "imagenet" else 32
        x = torch.randn(2, numbers.get("in_channels", 3), side, side)
        torch.save({"state": network.state_dict(), "x": x}, folder / "weights.pt")
        network.eval()
        with torch.no_grad():
            outputs = {"logits": network(x)}
            if numbers.get("auxiliary"):
                outputs["auxiliary"] = network(x, auxiliary=True)[1]
            network.train()
            torch.manual_seed(5)
            outputs["trained"] = network(x)
        expected.append(outputs)
        folders.append(str(folder))
    (tmp_path / "folders").write_text("\n".join(folders))
    (tmp_path / "runner.py").write_text(RUNNER)
    result = subprocess.run(
        [sys.executable, "-I", tmp_path / "runner.py", tmp_path / "folders"],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
    for folder, outputs, case in zip(folders, expected, CASES, strict=True):
        found = torch.load(Path(folder) / "outputs.pt", weights_only=True)
        assert found.keys() == outputs.keys()
        for name, tensor in outputs.items():
            assert tensor.std() > 0, case
            torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=f"{case} {name}")


@pytest.mark.parametrize(("name", "text", "numbers"), CASES)
def test_the_source_is_plain_python_with_torch_only(name: str, text: str, numbers: dict[str, Any]) -> None:
    arch = text or prejudge.space(name).sample(np.random.default_rng(0))
    source = standalone_source(name, arch, numbers)
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    paths = {node.names[0].name if isinstance(node, ast.Import) else node.module for node in imports}
    assert "torch" in paths and paths - {"torch"} <= sys.stdlib_module_names | {"collections.abc"}
    assert ast.get_docstring(tree) and all(len(line) <= 120 for line in source.splitlines())
    assert source.endswith(")\n") and "\n\n\n\n" not in source and "{{" not in source
    assert not any(line.endswith(" ") for line in source.splitlines())
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert {"Network"} <= set(functions) <= named, "something is defined but not used"
    assert len(functions) == len(set(functions))


def test_what_the_reader_should_know_is_in_it() -> None:
    hostile = ['cat"""', "dog'\n", "\\", *"abcdefg"]
    source = standalone_source("darts", "DARTS_V1", classes=hostile, mean=(0.5,) * 3, std=[0.25] * 3, image_size=28)
    values = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Tuple)
    }
    assert values["CLASS_NAMES"] == hostile and values["(MEAN, STD)"] == ((0.5,) * 3, (0.25,) * 3)
    (normal,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.keyword) and node.arg == "normal")
    assert ast.literal_eval(normal.value) == prejudge.space("darts").parse("DARTS_V1").normal
    assert "1, MACRO.in_channels, 28, 28" in source


def test_the_file_runs_as_a_program_and_takes_exported_weights(tmp_path: Path) -> None:
    numbers = {"channels": 4, "cells": 3}
    (tmp_path / "network.py").write_text(standalone_source("darts", "DARTS_V2", numbers))
    network = prejudge.space("darts").network("DARTS_V2", **numbers)
    export_weights(network, tmp_path / "w.safetensors", space="darts", architecture="DARTS_V2", macro=numbers)
    program = (
        "import runpy, safetensors.torch; m = runpy.run_path('network.py', run_name='__main__');"
        "m['Network']().load_state_dict(safetensors.torch.load_file('w.safetensors'))"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    params = prejudge.space("darts").params("DARTS_V2", **numbers)
    assert result.stdout == f"{params:,} parameters, logits of shape (1, 10)\n", result.stderr


def test_what_has_no_source() -> None:
    class Other(type(prejudge.space("nasbench201"))):  # type: ignore[misc]
        name = "other"

        def parse(self, text: Any, *, notation: str | None = None) -> Any:
            return "an architecture"

    other: Space = Other()
    with pytest.raises(InputError, match="no standalone source for networks of other"):
        standalone_source(other, "x")
    with pytest.raises(InputError, match="unknown darts macro field 'width'"):
        standalone_source("darts", "DARTS_V2", {"width": 3})
    with pytest.raises(InputError):
        standalone_source("darts", "import os")
