"""The register of published genotypes: every parameter count of the original code comes out of the formula."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from prejudge.errors import InputError
from prejudge.spaces.base import space
from prejudge.spaces.darts.macro import MacroConfigDARTS
from prejudge.spaces.darts.notations import to_dict
from prejudge.spaces.darts.published import genotype_names, published_genotype
from prejudge.spaces.darts.space import DARTS

IMAGENET = {"num_classes": 1000, "channels": 48, "cells": 14, "stem": "imagenet"}
FORMS = {"standard": "standard", "bn-after-pool/skip": "ista-onestage"}  # of the golden rows' CIFAR networks
DARTS_SPACE = space("darts")
assert isinstance(DARTS_SPACE, DARTS)


def rows(golden: Path, file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((golden / "supernets" / file).read_text())["rows"]
    return found


def official_name(row: dict[str, Any]) -> str:
    return str(row["name"]).split(":")[1]


def test_all_genotypes_of_the_original_codes_are_there(golden: Path) -> None:
    found = rows(golden, "params.json")
    assert len(found) == 72
    for row in found:
        assert to_dict(published_genotype(official_name(row)).genotype) == row["genotype"], row["name"]
    assert {published_genotype(official_name(row)).name for row in found} == set(genotype_names())


def test_parameter_counts_are_those_of_the_original_networks(golden: Path) -> None:
    checked: Counter[str] = Counter()
    for row in rows(golden, "params.json"):
        genotype = published_genotype(official_name(row)).genotype
        cifar: dict[str, Any] = {"form": FORMS[row["model"]]}
        small = cifar | {"channels": 16, "cells": 8}
        networks: dict[str, dict[str, Any]] = {
            "cifar10_params": cifar,
            "cifar10_with_aux": cifar | {"auxiliary": True},
            "cifar100_params": cifar | {"num_classes": 100},
            "c16_l8_10cls_params": small,
            "c16_l8_cifar100_params": small | {"num_classes": 100},
            "imagenet_params": IMAGENET,
            "imagenet_with_aux": IMAGENET | {"auxiliary": True},
        }
        for key, network in networks.items():
            if key in row:
                assert DARTS_SPACE.params(genotype, **network) == row[key], (row["name"], key)
                checked[key] += 1
    assert checked == {key: 24 if "imagenet" in key else 72 for key in networks}


def test_parameter_counts_of_stacnas_networks(golden: Path) -> None:
    found = rows(golden, "params_stacnas_model.json")
    assert len(found) == 10
    for row in found:
        genotype, network = published_genotype(official_name(row)).genotype, {"num_classes": row["classes"]}
        assert DARTS_SPACE.params(genotype, **network, form="stacnas") == row["params"]
        assert DARTS_SPACE.params(genotype, **network, form="stacnas", auxiliary=True) == row["with_aux"]
        assert DARTS_SPACE.params(genotype, **network) == row["dart_style_params"]


@pytest.mark.parametrize("name", genotype_names())
def test_entries_are_consistent(name: str) -> None:
    entry = published_genotype(name)
    where = space(entry.space)
    MacroConfigDARTS(**entry.network)
    assert where.parse(name) == entry.genotype  # a member of the space it was found in
    assert where.params(entry.genotype, **entry.network) == entry.params
    assert "arXiv:" in entry.paper
    if entry.published_millions is not None and not entry.note:
        digits = len(str(entry.published_millions).partition(".")[2])
        # authors round and truncate, to as many digits as they print
        assert abs(entry.params / 1e6 - entry.published_millions) <= 1.02 * 10**-digits


def test_sizes_that_authors_give(golden: Path) -> None:
    for row in rows(golden, "params.json"):
        entry = published_genotype(official_name(row))
        if row["author_comment_M"] is not None:
            assert entry.published_millions == row["author_comment_M"]
    assert sum(published_genotype(name).space != "darts" for name in genotype_names()) == 48


def test_names_are_forgiving_and_unique() -> None:
    assert published_genotype("DARTS").name == "DARTS_V2"
    assert published_genotype("nasnet-a").name == "NASNet"
    assert published_genotype("ISTA two-stage").name == "ISTA_twostage"
    known = [
        "".join(filter(str.isalnum, n.lower()))
        for name in genotype_names()
        for n in (name, *published_genotype(name).aliases)
    ]
    assert len(set(known)) == len(known)


def test_unknown_name() -> None:
    with pytest.raises(InputError) as error:
        published_genotype("DARTS_V22")
    assert str(error.value) == (
        "unknown genotype 'DARTS_V22'; did you mean 'DARTS_V2'? (genotype_names() lists the 71 known ones)"
    )
    with pytest.raises(InputError, match=r"^unknown genotype 'zzz' \("):
        published_genotype("zzz")
