from __future__ import annotations

from dataclasses import fields, replace

import pytest

from prejudge.cache import Protocol
from prejudge.cache.protocol import differences
from prejudge.errors import InputError

BASE = Protocol(
    "nasbench201", {"channels": 16, "form": "official"}, data="digits", data_digest="ab", mean=(0.5,), std=(0.25,)
)


def test_digest_depends_on_every_field() -> None:
    changed = {
        "space": "darts", "macro": {"channels": 8}, "data": "svhn", "data_digest": "cd", "mean": (0.4,),
        "std": (0.2,), "image_size": 8, "batch_size": 32, "batch": "per-architecture", "augment": True,
        "init": "kaiming", "init_weights": "kaiming", "init_biases": "zero",
        "dtype": "float64", "mode": "fast", "seed": 1, "source": "elsewhere",
    }  # fmt: skip
    assert set(changed) == {f.name for f in fields(Protocol)}
    digests = {replace(BASE, **{name: value}).digest for name, value in changed.items()}
    assert len(digests | {BASE.digest}) == len(changed) + 1


def test_equal_protocols_have_equal_digests_whatever_the_spelling() -> None:
    pairs = (("form", "official"), ("channels", 16))
    same = replace(BASE, macro=pairs, mean=[0.5])
    assert same == BASE and same.digest == BASE.digest and hash(same) == hash(BASE)
    assert BASE.digest == "f4b82c8941be73a7"  # files keep it: a change here orphans every cache


def test_json_round_trip() -> None:
    nested = replace(BASE, macro={"widths": [1, 2], "stem": True, "drop": None})
    assert Protocol.from_json(nested.to_json()) == nested
    assert Protocol.from_json(nested.to_json()).digest == nested.digest


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"space": "x", "no_such_field": 1}', "null"])
def test_what_is_no_protocol_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a protocol"):
        Protocol.from_json(text)


def test_bad_values_are_refused() -> None:
    with pytest.raises(InputError, match="unknown batch 'fixd'; did you mean 'fixed'"):
        Protocol("nasbench201", batch="fixd")
    with pytest.raises(InputError, match="unknown mode"):
        Protocol("nasbench201", mode="quick")
    with pytest.raises(InputError, match="batch_size must not be negative"):
        Protocol("nasbench201", batch_size=-1)


def test_describe_states_everything() -> None:
    text = replace(BASE, mode="fast", augment=True, seed=7, source="imported").describe()
    assert text["protocol"] == replace(BASE, mode="fast", augment=True, seed=7, source="imported").digest
    assert text["macro-architecture"] == "channels=16, form=official"
    assert text["data"] == "digits (ab)" and text["normalized with"] == "mean 0.5, std 0.25"
    assert text["batch"] == "64 images, the same for all architectures, augmented"
    assert text["precision"] == "float32, fast mode" and text["base seed"] == "7" and text["source"] == "imported"


def test_differences_name_only_what_differs() -> None:
    other = replace(BASE, macro={"channels": 8, "form": "official"}, seed=3)
    assert differences([BASE, other]) == {
        BASE.digest: "seed=0, macro.channels=16",
        other.digest: "seed=3, macro.channels=8",
    }


@pytest.mark.parametrize(
    "field",
    [
        '"dtype": []', '"seed": "x"', '"seed": true', '"image_size": 1.5', '"mean": ["x"]', '"mean": [1e999]',
        '"mean": 3', '"mean": [NaN]', '"macro": {"a": {}}', '"macro": 3', '"augment": 1', '"data": null',
        '"std": {"1": 2}x',
        '"mean": ' + "[" * 5000, '"mean": [' + "9" * 400 + "]",
    ],
)  # fmt: skip
def test_fields_of_another_kind_are_refused(field: str) -> None:
    with pytest.raises(InputError, match="not a protocol"):
        Protocol.from_json(f'{{"space": "x", {field}}}')
