from __future__ import annotations

import base64
import dataclasses
import json

import numpy as np
import pytest

from prejudge.report.correlation.points import LEVELS, MISSING, PointAxis, embed_points


def decode(series):
    codes = np.frombuffer(base64.b64decode(series["codes"]), "<u2")
    return np.where(codes == MISSING, np.nan, codes / LEVELS)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 2, 3], "linear"),
        ([1e-3, 1, 1e6], "log"),
        ([0.0, 1e-3, 1, 1e4, 1e8], "symlog"),
        ([-1e6, -1, 1, 2, 3, 1e6], "symlog"),
        ([-1000.0, 200, 500], "linear"),
        ([5.0, 5, 5], "linear"),
        ([], "linear"),
        ([0.0, 0.0], "linear"),
        ([-1e308, 1e308], "linear"),
        ([np.nan, np.inf, 3.0], "linear"),
    ],
)
def test_axis_suits_the_values_and_keeps_their_order(values, kind):
    values = np.array(values, float)
    axis = PointAxis.of(values)
    assert axis.kind == kind
    codes = axis.codes(values)
    finite = np.isfinite(values)
    assert (codes[~finite] == MISSING).all()
    assert (codes[finite] <= LEVELS).all()
    order = np.argsort(values[finite], kind="stable")
    assert (np.diff(codes[finite][order].astype(int)) >= 0).all()


def test_codes_are_as_fine_as_any_screen():
    values = np.geomspace(1e-5, 1e60, 5000)
    axis = PointAxis.of(values)
    position = axis.codes(values) / LEVELS
    restored = np.exp(np.log(axis.low) + position * np.log(axis.high / axis.low))
    np.testing.assert_allclose(restored, values, rtol=2e-3)


def test_architectures_and_numbers_survive(make_report):
    data = make_report(250)
    points = embed_points(data, 10**6)
    assert points["shown"] == points["total"] == 250
    assert restore_names(points) == list(data.scores.index)
    bits = np.unpackbits(np.frombuffer(base64.b64decode(points["disconnected"]), np.uint8), bitorder="little")[:250]
    np.testing.assert_array_equal(bits.astype(bool), ~data.connected)
    naswot = next(series for series in points["proxies"] if series["name"] == "naswot")
    low, high = naswot["axis"]["low"], naswot["axis"]["high"]
    np.testing.assert_allclose(low + decode(naswot) * (high - low), data.scores["naswot"], atol=(high - low) / LEVELS)
    assert [p["higher"] for p in points["proxies"] if p["name"] == "ntk_condition_tenas"] == [False]


def test_a_small_budget_gives_a_stated_sample(make_report):
    data = make_report(250)
    points = embed_points(data, 12_000)
    assert 20 < points["shown"] < points["total"] == 250
    assert len(json.dumps(points)) < 16_000
    assert set(restore_names(points)) <= set(data.scores.index)
    assert points == embed_points(data, 12_000)


def test_texts_of_any_form_survive(make_report):
    data = make_report(60)
    texts = [f"<script>alert({i})</script> é {{'a': {i}}} w{i}" for i in range(60)]
    texts[0] = ""
    rename = {"index": dict(zip(data.scores.index, texts, strict=True))}
    data = dataclasses.replace(
        data,
        scores=data.scores.rename(**rename),
        accuracies=data.accuracies.rename(**rename),
        params=None,
        connected=None,
    )
    assert restore_names(embed_points(data, 10**6)) == texts


def restore_names(points):
    names = points["names"]
    words = iter(np.frombuffer(base64.b64decode(names["word_codes"]), f"<u{names['word_bytes']}"))
    kinds = np.frombuffer(base64.b64decode(names["template_codes"]), "<u2") if len(names["templates"]) > 1 else None
    found = []
    for i in range(points["shown"]):
        first, *others = names["templates"][kinds[i] if kinds is not None else 0]
        found.append(first + "".join(names["words"][next(words)] + piece for piece in others))
    return found
