"""A browser; and synthetic report data that look like NAS-Bench-201: disconnected cells, failures, sign flips."""

from __future__ import annotations

import functools
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from prejudge.benchmarks.statistics.agreement import proxy_agreement
from prejudge.report import ReportData

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
METRICS = ("cifar10 test 200ep", "cifar100 test 200ep", "imagenet16-120 test 200ep")
# name: (share of quality, share of size, spread, shape, higher is better, seconds)
PROXIES = {
    "synflow": (1.0, 0.6, 0.5, lambda z: 10 ** (8 * z + 20), True, 0.041),
    "logsynflow": (1.0, 0.6, 0.45, lambda z: 400 + 90 * z, True, 0.042),
    "jacob_cov": (1.1, 0.0, 0.6, lambda z: -65 + 3 * z, True, 0.048),
    "naswot": (1.2, 0.2, 0.45, lambda z: 1500 + 120 * z, True, 0.033),
    "snip": (0.7, 0.6, 0.8, lambda z: 10 ** (1.5 * z + 1), True, 0.062),
    "grad_norm": (0.7, 0.6, 0.8, lambda z: 10 ** (1.2 * z + 1), True, 0.061),
    "fisher": (0.4, 0.5, 1.0, lambda z: 10 ** (3 * z - 2), True, 0.071),
    "grasp": (0.6, 0.1, 1.0, lambda z: 40 * np.sinh(2 * z), True, 0.35),
    "plain": (-0.3, 0.1, 1.2, lambda z: 0.2 * z, True, 0.06),
    "zen": (0.6, 1.0, 0.4, lambda z: 30 + 8 * z, True, 0.09),
    "epe_nas": (0.9, 0.0, 1.0, lambda z: 600 + 200 * z, True, 0.052),
    "linear_regions": (0.5, 0.0, 1.3, lambda z: np.round(60 + 3 * np.minimum(z, 1)), True, 0.03),
    "ntk_trace": (0.8, 0.4, 0.6, lambda z: 10 ** (0.8 * z + 4), True, 0.11),
    "ntk_condition_tenas": (-0.9, 0.0, 0.8, lambda z: 10 ** (1.2 * z + 2), False, 1.94),
}
BASELINES = {"params": 0.0002, "flops": 0.0002}


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((found for name in names if (found := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"no Chromium found (looked for {', '.join(names)})")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit_file(browser) -> Iterator[Callable[..., object]]:
    """``visit_file(path, width, **context)`` opens a page; no error and no request but the file itself may follow."""
    troubles, requests, contexts, files = [], [], [], set()

    def visit(path: Path, width: int = 1280, **options: object) -> object:
        files.add(path.as_uri())
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: (troubles.append("a script of the data ran"), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert troubles == []
    assert {url for url in requests if not url.startswith("data:")} == files


@pytest.fixture
def make_report() -> Callable[..., ReportData]:
    """A function ``make_report(architectures=300, seed=0)`` of realistic data; never change its frames."""
    return report_data


@functools.cache
def report_data(architectures: int = 300, seed: int = 0) -> ReportData:
    """Deterministic data of one report."""
    random = np.random.default_rng(seed)
    cells = list(itertools.product(range(5), repeat=6))
    chosen = [cells[i] for i in np.sort(random.permutation(len(cells))[:architectures])]
    index = pd.Index([_text(cell) for cell in chosen], name="architecture")
    operations = np.array(chosen)
    connected = pd.Series([_is_connected(cell) for cell in chosen], index=index)
    large, small = (operations == 3).sum(1), (operations == 2).sum(1)
    params = pd.Series(73_306 + 243_040 * large + 28_000 * small, index=index)
    size = (large + 0.3 * small - 1.5) / 1.2
    quality = (
        0.6 * size
        + 0.5 * (operations[:, 3] == 1)
        - 0.4 * (operations == 4).sum(1) / 2
        + 0.5 * random.normal(size=len(index))
    )

    def trained(top: float, spread: float, chance: float) -> np.ndarray:
        accuracy = top - spread * np.log1p(np.exp(-1.6 * quality)) + 0.02 * spread * random.normal(size=len(index))
        return np.where(connected, accuracy, chance + 0.0 * accuracy)

    accuracies = pd.DataFrame(
        dict(zip(METRICS, (trained(94.4, 4, 10), trained(73.5, 9, 1), trained(47.3, 10, 0.83)), strict=True)),
        index=index,
    )
    scores = pd.DataFrame(index=index)
    failed = []
    for name, (of_quality, of_size, spread, shape, _, _) in PROXIES.items():
        z = of_quality * quality + of_size * size + spread * random.normal(size=len(index))
        values = shape(z / np.std(z))
        if name in ("synflow", "logsynflow", "snip", "grad_norm", "fisher"):
            values = np.where(connected, values, 0.0)
        lost = (~connected & (name in ("jacob_cov", "naswot", "zen", "ntk_condition_tenas", "epe_nas"))).to_numpy() | (
            random.random(len(index)) < 0.002
        )
        reason = (
            "output does not depend on the input"
            if not name.startswith("ntk")
            else "smallest eigenvalue is 0: condition number undefined"
        )
        failed += [(text, name, 0, reason) for text in index[lost]]
        scores[name] = np.where(lost, np.nan, values)
    scores["params"], scores["flops"] = params.astype(float), params * 141.0 + 1.2e6 * (operations == 4).sum(1)
    seconds = {name: spec[-1] for name, spec in PROXIES.items()} | BASELINES
    correlations = _correlations(scores, accuracies, connected, seconds)
    first = correlations.drop_duplicates("proxy")
    quality = dict(zip(first["proxy"], first["spearman"], strict=True))
    content = {
        "title": "How well do training-free scores predict NAS-Bench-201?",
        "space": "nasbench201",
        "correlations": correlations,
        "scores": scores,
        "accuracies": accuracies,
        "params": params,
        "connected": connected,
        "agreement": proxy_agreement(scores, {name: spec[4] for name, spec in PROXIES.items()}, quality),
        "seconds": seconds,
        "failures": pd.DataFrame(failed, columns=["architecture", "proxy", "repeat", "reason"]),
        "protocol": {
            "space": "nasbench201",
            "macro": "C=16, N=5, 10 classes",
            "data": "cifar10 (digest 3f9a2c41d0e7)",
            "batch": "64 images, fixed, no augmentation",
            "initialization": "PyTorch default",
            "dtype": "float32",
            "mode": "exact",
            "seed": "0",
            "digest": "9be1c7d20a44",
        },
        "provenance": {
            "prejudge": "0.1.0",
            "torch": "2.14.1",
            "python": "3.12.8",
            "device": "CPU, 2 threads",
            "cache": "scores.h5 (sha256 5d41402abc4b2a76)",
            "benchmark": "nasbench201, 15,625 architectures, means over seeds",
        },
        "warnings": [
            "Accuracies are means over seeds; cells whose output does not depend on the image stay at chance.",
            "plain and linear_regions are shown although they hardly predict: a report must not hide sign flips.",
        ],
        "directions": {name: spec[4] for name, spec in PROXIES.items()},
    }
    return ReportData(**content)


def _correlations(
    scores: pd.DataFrame, accuracies: pd.DataFrame, connected: pd.Series, seconds: dict[str, float]
) -> pd.DataFrame:
    signed = scores * [1 if PROXIES.get(name, (0, 0, 0, 0, True))[4] else -1 for name in scores.columns]
    signed["rank average"] = signed[["synflow", "naswot", "jacob_cov"]].rank().mean(axis=1)
    signed["vote of 3"] = signed[["synflow", "naswot", "zen"]].rank().median(axis=1)
    rows = []
    for metric, stratum, proxy in itertools.product(
        accuracies.columns, ("all", "connected", "top 10 %"), signed.columns
    ):
        accuracy = accuracies[metric]
        inside = {"all": accuracy > -1, "connected": connected, "top 10 %": accuracy >= accuracy.quantile(0.9)}[stratum]
        both = inside & signed[proxy].notna()
        x, y = signed.loc[both, proxy], accuracy[both]
        rho = float(spearmanr(x, y).statistic)
        half = 1.96 / np.sqrt(max(len(x) - 3, 1))
        tau = float(kendalltau(x, y).statistic)
        top = max(1, len(x) // 10)
        rows.append(
            {
                "metric": metric,
                "stratum": stratum,
                "proxy": proxy,
                "n": len(x),
                "failed": int((inside & ~both).sum()),
                "ties": len(x) - x.nunique(),
                "spearman": rho,
                "spearman_low": np.tanh(np.arctanh(0.999 * rho) - half),
                "spearman_high": np.tanh(np.arctanh(0.999 * rho) + half),
                "kendall": tau,
                "weighted_tau": tau * 0.95,
                "partial_spearman": 0.6 * rho if proxy != "params" else np.nan,
                "pairs": (1 + tau) / 2,
                "precision_at_10pct": len(set(x.nlargest(top).index) & set(y.nlargest(top).index)) / top,
                "precision_at_5pct": 0.4,
                "regret": float(y.max() - y[x.idxmax()]),
                "repeats_std": 0.012,
                "noise_ceiling": {"all": 0.97, "connected": 0.95, "top 10 %": 0.55}[stratum],
                "seconds": seconds.get(proxy, np.nan),
            }
        )
    return pd.DataFrame(rows)


def _text(cell: tuple[int, ...]) -> str:
    nodes = {
        node: "|".join(
            f"{OPERATIONS[op]}~{source}" for op, (target, source) in zip(cell, EDGES, strict=True) if target == node
        )
        for node in (1, 2, 3)
    }
    return "+".join(f"|{nodes[node]}|" for node in (1, 2, 3))


def _is_connected(cell: tuple[int, ...]) -> bool:
    reached = {0}
    for op, (target, source) in zip(cell, EDGES, strict=True):
        if op and source in reached:
            reached.add(target)
    return 3 in reached
