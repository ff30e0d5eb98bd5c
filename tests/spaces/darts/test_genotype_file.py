"""Genotype files: what is written comes back; what is no such file is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prejudge.errors import FileFormatError, InputError, MissingDataError
from prejudge.spaces.darts.genotype_file import SavedGenotype, read_genotype, write_genotype
from prejudge.spaces.darts.notations import parse_genotype
from prejudge.spaces.darts.published import published_genotype

ISTA = published_genotype("ISTA_onestage").genotype


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    origin = {"method": "ista-onestage", "seed": 5, "data": "cifar10 – Größe"}
    write_genotype(path, ISTA, space="darts", network={"form": "ista-onestage"}, origin=origin)
    saved = read_genotype(path)
    assert saved == SavedGenotype(ISTA, "darts", {"form": "ista-onestage"}, origin)
    assert parse_genotype(path.read_text(encoding="utf-8")) == ISTA
    write_genotype(path, ISTA)  # replaces
    assert read_genotype(path) == SavedGenotype(ISTA)
    assert [p.name for p in tmp_path.iterdir()] == ["found.json"]


@pytest.mark.parametrize("text", [str(ISTA), f"epoch 50\ngenotype = {ISTA}\n", "ISTA_onestage\n"])
def test_other_texts_are_read_too(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text(text)
    assert read_genotype(path) == SavedGenotype(ISTA)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    write_genotype(path, ISTA)
    with pytest.raises(InputError, match=r"found.json: network and origin must be plain values"):
        write_genotype(path, ISTA, origin={"path": tmp_path})
    assert read_genotype(path) == SavedGenotype(ISTA)
    assert [p.name for p in tmp_path.iterdir()] == ["found.json"]


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"none.json: the genotype file does not exist"):
        read_genotype(tmp_path / "none.json")
    with pytest.raises(MissingDataError, match=r"no folder .* for x.json; make it first"):
        write_genotype(tmp_path / "no" / "x.json", ISTA)
    path = tmp_path / "x.json"
    path.write_bytes(b"\x80\x05\x95")
    with pytest.raises(FileFormatError, match=r"x.json: not a text file; .* never a pickle"):
        read_genotype(path)
    path.write_text('{"normal": [["noise", 7]], "normal_concat": [2], "reduce": [], "reduce_concat": [2]}')
    with pytest.raises(FileFormatError, match=r"x.json: genotype: edge 0 of node 0 of the normal cell comes from"):
        read_genotype(path)
    write_genotype(path, ISTA)
    content = json.loads(path.read_text())
    for change, message in (
        ({"version": 2}, "of version 2; this prejudge reads version 1"),
        ({"network": []}, "must be JSON objects"),
        ({"space": 1}, "space must be a text"),
        ({"normal": None}, "the normal cell must be a list"),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(FileFormatError, match=f"x.json: .*{message}"):
            read_genotype(path)
