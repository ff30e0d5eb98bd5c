"""`prejudge train` and `prejudge test`: from an architecture to figures, and back from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prejudge import cli
from prejudge.formats.lock import alone
from prejudge.train.export.weights import load_weights
from prejudge.train.training import RUNNING

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
SMALL = ["--data", "digits", "--channels", "4", "--cells", "1", "--macro", "stages=1"]
TRAIN = ["train", CELL, *SMALL, "--epochs", "2", "--batch-size", "50"]

Printed = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "cell"
    words = [*TRAIN, "--augment=false", "--out", str(folder), "--export", "standalone", "--json"]
    assert cli.run(words) == 0
    return folder


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_the_folder_says_everything(trained: Path) -> None:
    assert {p.name for p in trained.iterdir()} >= {
        "last.pt", "best.pt", "log.jsonl", "weights.safetensors", "result.json", "training.json", "test.json",
        "network.py",
    }  # fmt: skip
    about, result, tested = (read(trained, f"{name}.json") for name in ("training", "result", "test"))
    assert about["recipe"] == "nasbench201"
    assert about["not as published"]["epochs"] == [200, 2]
    assert about["origin"] == {"given": CELL}
    assert about["macs"] > 0
    assert result["selection"]["by"] == "valid"
    assert result["seed"] == 777
    assert tested["top1"] == result["test"]["top1"]
    assert np.sum(tested["confusion"]) == result["test"]["images"] == 400
    source = (trained / "network.py").read_text(encoding="utf-8")
    assert "class Network" in source
    compile(source, "network.py", "exec")


def test_what_is_printed(tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "t"
    words = [*TRAIN, "--select", "last", "--out", str(out)]
    assert cli.run([*words, "--resume"]) == 0
    printed = capsys.readouterr()
    for part in ("top-1", "top-5", "loss", "parameters", "images/s", "the network of the last epoch (epoch 2 of 2)"):
        assert part in printed.out
    assert "note: nasbench201 has no recipe for digits: that for cifar10 is fitted to it" in printed.err
    assert f"next: prejudge report --training {out}" in printed.err
    first = load_weights(out / "weights.safetensors")[0].state_dict()
    assert cli.run(words) == 0  # nothing is left to do
    again = load_weights(out / "weights.safetensors")[0].state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_another_training_is_not_mixed_in(trained: Path, capsys: Printed) -> None:
    assert cli.run([*TRAIN, "--learning-rate", "0.5", "--out", str(trained)]) == 2
    error = capsys.readouterr().err
    assert "belongs to another run" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "gone.h5", *SMALL, "--out", "x"], "no file gone.h5"),
        (["train", CELL, *SMALL, "--recipe", "darts", "--out", "x"], "recipe darts trains networks of darts"),
        (["train", CELL, *SMALL, "--recipe", "dart", "--out", "x"], "unknown recipe 'dart'"),
        (["train", CELL, *SMALL, "--schedule", "cosin", "--out", "x"], "unknown schedule of a recipe 'cosin'"),
        (["train", CELL, *SMALL, "--drop-path", "0.2", "--epochs", "1", "--out", "x"], "has no drop-path"),
        (["train", CELL, *SMALL, "--device", "cuda:99", "--out", "x"], "cuda:99"),
        (["test", "gone", "--data", "digits"], "no file gone with weights"),
        (["test", "gone.pt", "--data", "digits", "--channels", "3"], "go with --arch: give the architecture"),
    ],
)
def test_wrong_use_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(words) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("prejudge: ")]
    assert len(error) == 1
    assert message in error[0]
    assert not (tmp_path / "x" / "result.json").exists()


def test_a_result_file_and_a_recipe_file(tmp_path: Path, capsys: Printed) -> None:
    found = tmp_path / "found.h5"
    assert (
        cli.run(["search", "random", "--benchmark", "digits", "--queries", "3", "--seeds", "2", "--out", str(found)])
        == 0
    )
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "title: mine\ntrain:\n  recipe: nasbench201\n  data: digits\n  channels: 4\n  cells: 1\n"
        "  macro: [stages=1]\n  epochs: 1\n  batch-size: 100\n  nesterov: false\n"
    )
    capsys.readouterr()
    words = ["train", str(found), "--search-seed", "1", "--recipe", str(recipe), "--out", str(tmp_path / "t"), "--json"]
    assert cli.run(words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["metadata"]["origin"]["search seed"] == 1
    assert printed["recipe"]["nesterov"] is False
    assert printed["recipe"]["batch_size"] == 100
    assert len(printed["classes"]) == 10


def same(trained: Path, words: list[str], capsys: Printed) -> dict[str, Any]:
    """What `prejudge test` prints; the figures are those of the training's end."""
    assert cli.run(["test", *words, "--data", "digits", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["top1"] == read(trained, "result.json")["test"]["top1"]
    return printed


def test_every_kind_of_file_is_read(trained: Path, tmp_path: Path, capsys: Printed) -> None:
    network, _ = load_weights(trained / "weights.safetensors")
    torch.save(network.state_dict(), tmp_path / "plain.pt")
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "wrapped.pt")
    arch = ["--arch", CELL, "--channels", "4", "--cells", "1", "--macro", "stages=1"]
    given = ["--normalization", "own"]
    assert same(trained, [str(trained)], capsys)["written"] == str(trained / "test.json")
    assert same(trained, [str(trained / "weights.safetensors")], capsys)["kind"] == "exported weights"
    assert same(trained, [str(trained / "weights.safetensors"), *arch], capsys)["written"] is None
    assert same(trained, [str(trained / "best.pt")], capsys)["kind"].startswith("checkpoint after epoch")
    for name in ("plain.pt", "wrapped.pt"):
        assert same(trained, [str(tmp_path / name), *arch, *given], capsys)["kind"] == "state dict"
    out = tmp_path / "figures.json"
    same(trained, [str(tmp_path / "plain.pt"), *arch, "--out", str(out)], capsys)
    assert read(tmp_path, "figures.json")["classes"][0]["images"] > 0


def test_the_table_of_classes(trained: Path, capsys: Printed) -> None:
    assert cli.run(["test", str(trained / "weights.safetensors"), "--data", "digits"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("digits test, 400 images: top-1 ")
    assert "mistaken for" in printed


def test_weights_that_do_not_fit_are_said_so(trained: Path, tmp_path: Path, capsys: Printed) -> None:
    network, _ = load_weights(trained / "weights.safetensors")
    torch.save(network.state_dict(), tmp_path / "plain.pt")
    np.savez(
        tmp_path / "three.npz",
        x_test=np.zeros((6, 8, 8, 1), np.uint8), y_test=np.arange(6) % 3,
        x_train=np.zeros((6, 8, 8, 1), np.uint8), y_train=np.arange(6) % 3,
    )  # fmt: skip
    other = CELL.replace("skip_connect", "avg_pool_3x3")
    weights, plain = str(trained / "weights.safetensors"), str(tmp_path / "plain.pt")
    cases = [
        ([plain, "--data", "digits"], "holds weights without their architecture; give --arch"),
        ([plain, "--data", "digits", "--arch", CELL], "these are the weights of another architecture"),
        ([weights, "--data", "digits", "--arch", other], "holds another architecture of nasbench201"),
        ([weights, "--data", "digits", "--arch", CELL, "--channels", "8"], "holds a network with channels 4 and not 8"),
        ([weights, "--data", f"npz:{tmp_path / 'three.npz'}"], "tells 10 classes apart"),
        ([weights, "--data", "npz:gone.npz"], "no file gone.npz"),
    ]
    for words, message in cases:
        assert cli.run(["test", *words]) == 2, words
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
    (tmp_path / "broken.pt").write_bytes(b"no file of torch")
    assert cli.run(["test", str(tmp_path / "broken.pt"), "--data", "digits"]) == 1
    assert "broken.pt" in capsys.readouterr().err


def test_pictures_in_folders_are_trained_as_imagenet_is(tmp_path: Path, capsys: Printed) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for k in range(4):
                image = Image.fromarray(rng.integers(0, 256, (100, 110, 3), np.uint8))
                image.save(tmp_path / "pets" / split / name / f"{k}.png")
    data = ["--data", f"folder:{tmp_path / 'pets'}"]
    words = [
        "train",
        "DARTS_V2",
        *data,
        "--channels",
        "4",
        "--cells",
        "3",
        "--epochs",
        "6",
        "--batch-size",
        "4",
        "--held-out",
        "0.25",
    ]
    assert cli.run([*words, "--image-size", "32", "--out", str(tmp_path / "t"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["macro"]["stem"], printed["recipe"]["schedule"]) == ("imagenet", "exponential")
    assert (printed["selection"]["by"], printed["images"]["train"], printed["images"]["valid"]) == ("valid", 6, 2)
    assert [row["class"] for row in printed["classes"]] == ["cat", "dog"]
    assert cli.run(["test", str(tmp_path / "t"), *data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == printed["test"]["top1"]


def test_one_training_at_a_time_writes_a_folder(trained: Path, capsys: Printed) -> None:
    with alone(trained / RUNNING):
        assert cli.run([*TRAIN, "--augment=false", "--out", str(trained)]) == 1
    assert "is being written by process" in capsys.readouterr().err
