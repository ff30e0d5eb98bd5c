"""What the architecture argument of a command can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.search import SearchResult, Trajectory, write_result
from prejudge.search.recommendation import choose_architecture
from prejudge.spaces import published_genotype
from prejudge.spaces import space as find_space
from prejudge.spaces.darts.genotype_file import write_genotype

V2 = published_genotype("DARTS_V2").genotype
V1 = published_genotype("DARTS_V1").genotype
CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"


def run(seed: int, answer: object, value: float, **facts: Any) -> Trajectory:
    return Trajectory(
        seed, str(answer), [str(answer)], np.ones(1, np.int32), np.array([value]), np.ones(1), 0.0, facts
    )  # fmt: skip


def result(path: Path, runs: list[Trajectory], method: str = "darts") -> str:
    write_result(SearchResult(method, {}, "darts", {"kind": "supernet", "data": "digits"}, {}, runs), path)
    return str(path)


def test_a_text_a_name_and_a_file_mean_the_same(tmp_path: Path) -> None:
    write_genotype(tmp_path / "found.json", V2, network={"form": "stacnas"}, origin={"method": "mine"})
    (tmp_path / "log.txt").write_text(f"epoch 49\ngenotype = {V2}\n")
    for given in (str(V2), "DARTS_V2", "darts-v2", str(tmp_path / "found.json"), str(tmp_path / "log.txt")):
        found = choose_architecture(given)
        assert (found.space.name, found.architecture) == ("darts", V2)
    saved = choose_architecture(str(tmp_path / "found.json"))
    assert (saved.form, saved.origin) == ("stacnas", {"file": "found.json", "method": "mine"})
    assert choose_architecture("DARTS_V2").origin["paper"].startswith("Liu")


def test_the_notation_says_the_space(tmp_path: Path) -> None:
    assert choose_architecture(CELL).space.name == "nasbench201"
    (tmp_path / "cell.txt").write_text(CELL + "\n")
    assert str(choose_architecture(str(tmp_path / "cell.txt")).architecture) == CELL
    spec = '{"matrix": [[0, 1, 0], [0, 0, 1], [0, 0, 0]], "ops": ["input", "conv3x3-bn-relu", "output"]}'
    assert choose_architecture(spec).space.name == "nasbench101"
    assert choose_architecture("7", "nasbench201").space.name == "nasbench201"
    for text in ("8:8:8:16:32", '{"layer-0": 8, "layer-1": 8, "layer-2": 8, "layer-3": 16, "layer-4": 32}'):
        assert str(choose_architecture(text).architecture) == "8:8:8:16:32"
    for edges in ("0_1", "edge_0_1", "1<-0", "hp_x0"):
        with pytest.raises(InputError, match="nasbench201: 1 of six edges are named"):
            choose_architecture(f"{{'{edges}': 'none'}}")
    key = choose_architecture("(4, 3, 3, 0, 0, 0)", "nasbench201", notation="naslib")
    assert key.architecture == find_space("nasbench201")[0]


def test_the_best_run_of_a_result_or_the_one_that_is_asked_for(tmp_path: Path) -> None:
    path = result(tmp_path / "darts.h5", [run(0, V1, 80.0), run(1, V2, 90.0, form="stacnas-zero")])
    best = choose_architecture(path)
    assert (best.architecture, best.form, best.method) == (V2, "stacnas-zero", "darts")
    assert best.origin == {"search": "darts", "result": "darts.h5", "search seed": 1, "searched": "digits"}
    assert "from seed 1 is taken, the one with the best value" in best.notes[0]
    assert choose_architecture(path, seed=0).architecture == V1
    with pytest.raises(InputError, match=r"has no run from seed 7 \(it has 0, 1\)"):
        choose_architecture(path, seed=7)
    with pytest.raises(InputError, match="of a search in darts, not nasbench201"):
        choose_architecture(path, "nasbench201")


def test_runs_without_values_and_weights_that_were_left(tmp_path: Path) -> None:
    path = result(tmp_path / "ista.h5", [run(3, V1, np.nan, form="ista-onestage"), run(4, V2, np.nan)], "ista-onestage")
    left = tmp_path / "ista.h5.run" / "seed-3" / "network.safetensors"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    found = choose_architecture(path)
    assert (found.architecture, found.form, found.weights) == (V1, "ista-onestage", left)
    assert "no run says how good its recommendation is" in found.notes[0]
    assert f"`prejudge test {left}`" in found.notes[1]


def test_wrong_use_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "not.h5").write_bytes(b"\x89HDF\r\n\x1a\nnothing")
    (tmp_path / "bytes.bin").write_bytes(b"\xff\xfe\x00")
    cases: list[tuple[str, dict[str, Any], type[Exception], str]] = [
        ("gone.h5", {}, MissingDataError, "no file gone.h5"),
        ("DARTS_V3", {}, InputError, "did you mean 'DARTS_V"),
        ("DARTS_V2", {"seed": 1}, InputError, "not a result file"),
        (str(tmp_path / "not.h5"), {}, FileFormatError, "not a search result"),
        (str(tmp_path / "bytes.bin"), {}, FileFormatError, "not a text file"),
        ("|nor_conv~0|", {}, InputError, "nasbench201"),
    ]
    for given, options, kind, message in cases:
        with pytest.raises(kind, match=message) as raised:
            choose_architecture(given, **options)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("given", ["a" * 5000, "a\0b", "9" * 5000, "²", "{" * 5000])
def test_what_is_nothing_at_all_is_refused_in_one_short_line(given: str) -> None:
    with pytest.raises(InputError) as error:
        choose_architecture(given)
    assert len(str(error.value)) <= 500
