"""Rank correlations of scores with trained accuracies, and all that is needed to judge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prejudge.benchmarks.statistics import ensembles
from prejudge.benchmarks.statistics import rank_statistics as statistics
from prejudge.benchmarks.statistics.concordance import Concordance
from prejudge.benchmarks.statistics.matched import Matched, match
from prejudge.benchmarks.statistics.ranking import TiedRanking
from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.table import Table
from prejudge.errors import InputError, check_integer

if TYPE_CHECKING:
    import pandas as pd

    from prejudge.cache.protocol import Protocol
    from prejudge.cache.store import ScoreCache

STRATA = ("all", "connected", "top 10 %")
TOP = 0.1
PRECISIONS = {"precision_at_10pct": 0.1, "precision_at_5pct": 0.05}
_FEWEST = 3


def correlate(
    source: ScoreCache | pd.DataFrame,
    table: Table,
    *,
    metrics: Metric | str | Sequence[Metric | str] | None = None,
    protocol: Protocol | str | None = None,
    directions: Mapping[str, bool] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank correlation of every proxy with trained accuracies.

    Only architectures with both a score and an accuracy are used; their number and that of failed scores are stated.
    Correlations are signed: a proxy's declared direction is applied, and one that ranks backwards is negative.
    ``params`` and ``flops`` are always among the rows, and so are the rank average and the majority vote of three
    proxies where three were scored.

    Args:
        source: A score cache; or a frame of scores, indexed by architecture text, with a column per proxy.
        table: The trained accuracies.
        metrics: One or several metrics; by default every test column at its longest schedule.
        protocol: Which protocol of the cache, where it has several.
        directions: Whether a higher score means better, per proxy of a frame (by default it does).
        resamples: Bootstrap resamples of the architectures.
        confidence: Coverage of the intervals.
        seed: Seed of the resamples and of the vote's opponents.

    Returns:
        One row per metric, stratum (all architectures, connected ones, the tenth that is most accurate) and proxy:

        - ``metric``, ``stratum``, ``proxy``;
        - ``n`` used, ``failed`` scores, ``ties``: architectures that share their score with another one;
        - ``spearman`` with its bootstrap interval ``spearman_low``, ``spearman_high`` (percentiles of the
          resamples; over more than 20,000 architectures their normal limit), ``undefined`` (the share of the
          resamples that have no correlation, and are left out) and ``no_interval``: why there is no interval, as with
          fewer than 10 architectures; empty where there is one;
        - ``kendall`` (tau-b); ``weighted_tau`` (Vigna's, hyperbolic); ``partial_spearman`` given the number of
          parameters (from four architectures on);
        - ``pairs``: share of the pairs of different accuracy in the right order, a tied score counting half; for the
          vote, that of the majority itself (the published .817 for NAS-Bench-201);
        - ``precision_at_10pct``, ``precision_at_5pct``: share of the best-scored tenth (twentieth) that is truly in it;
        - ``regret``: accuracy lost, in the unit of the metric, by taking the best-scored architecture;
        - ``repeats_std``: standard deviation of the Spearman correlation over repeats; NaN where there is one;
        - ``noise_ceiling``: Spearman correlation to be expected if the trainings were repeated (of two seeds; for a
          mean over k seeds stepped up by Spearman-Brown), and ``seed_spearman``, that of two single seeds. NaN where
          the table has no single seeds. A proxy that knew the expected accuracy would reach the root of it;
        - ``seconds`` per architecture.

        What is undefined (a constant score, fewer than three architectures) is NaN. See also ``attrs["warnings"]``.

    Raises:
        InputError: Unknown metric or protocol, scores and table of different spaces, or fewer than three architectures
            in both.
    """
    matched = match(source, table, metrics=metrics, protocol=protocol, directions=directions)
    return correlate_matched(matched, table, resamples=resamples, confidence=confidence, seed=seed)


def correlate_matched(
    matched: Matched, table: Table, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """:func:`correlate` for what :func:`~prejudge.benchmarks.statistics.matched.match` returned."""
    import pandas as pd

    resamples, seed = check_integer("resamples", resamples), check_integer("seed", seed, least=0)
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, not {confidence}")
    columns = {c: matched.oriented(c) for c in matched.scores.columns}
    vote, warnings = _add_ensembles(columns, matched, seed)
    ranked = _Ranked(
        matched,
        scores={name: TiedRanking.of(scores) for name, scores in columns.items()},
        accuracies={str(m): TiedRanking.of(matched.accuracies[str(m)].to_numpy()) for m in matched.metrics},
    )
    rows: list[dict[str, Any]] = []
    used: list[bytes] = []
    for metric in matched.metrics:
        accuracy = matched.accuracies[str(metric)].to_numpy()
        found: dict[tuple[str, bytes], dict[str, Any]] = {}  # strata may be equal, and cost nothing then
        for stratum, inside in _strata(accuracy, matched.connected).items():
            ceiling = _ceiling(table, metric, matched.index[inside])
            for name, scores in columns.items():
                usable = inside & ~np.isnan(scores)
                key = name, np.packbits(usable).tobytes()
                if key not in found:
                    found[key] = _row(name, scores, accuracy, usable, ranked, str(metric))
                    if name in vote and usable.sum() >= _FEWEST:
                        three = np.vstack([columns[v][usable] for v in vote[name]])
                        found[key]["pairs"] = ensembles.vote_pairs(three, accuracy[usable], seed=seed)
                row = {
                    "metric": str(metric),
                    "stratum": stratum,
                    "proxy": name,
                    "failed": _failed(name, inside, usable, matched),
                }
                rows.append(row | found[key] | ceiling | {"seconds": matched.seconds.get(name, np.nan)})
                used.append(key[1])
    warnings += _add_intervals(rows, used, ranked, resamples=resamples, confidence=confidence, seed=seed)
    order = [
        "metric", "stratum", "proxy", "n", "failed", "ties", "spearman", "spearman_low", "spearman_high", "undefined",
        "no_interval", "kendall", "weighted_tau", "partial_spearman", "pairs", *PRECISIONS, "regret", "repeats_std",
        "noise_ceiling", "seed_spearman", "seconds",
    ]  # fmt: skip
    result = pd.DataFrame(rows, columns=order)
    result.attrs["warnings"] = [*matched.warnings, *warnings]
    return result


def _add_ensembles(
    columns: dict[str, np.ndarray], matched: Matched, seed: int
) -> tuple[dict[str, list[str]], list[str]]:
    """Add the rank average and the vote to ``columns``; returns who voted under which name, and warnings."""
    chosen = ensembles.voters(columns)
    if len(chosen) < len(ensembles.VOTERS):
        return {}, []
    scores = np.vstack([columns[c] for c in chosen])
    names = ", ".join(chosen)
    columns[f"rank average ({names})"] = ensembles.rank_average(scores)
    vote = f"vote ({names})"
    columns[vote] = ensembles.vote_wins(scores, seed=seed)
    warnings = []
    if len(matched.index) > ensembles.EXACT_UP_TO:
        warnings.append(
            f"The vote compares each architecture with {ensembles.EXACT_UP_TO} others drawn at random (seed {seed})."
        )
    return {vote: chosen}, warnings


def _strata(accuracy: np.ndarray, connected: np.ndarray) -> dict[str, np.ndarray]:
    known = np.isfinite(accuracy)
    best = max(1, int(np.ceil(TOP * known.sum())))
    cut = np.sort(accuracy[known])[-best] if known.any() else np.inf
    return dict(zip(STRATA, (known, known & connected, known & (accuracy >= cut)), strict=True))


@dataclass(frozen=True)
class _Ranked:
    """Every column sorted once; the ranking among the architectures that two columns share follows by counting."""

    matched: Matched
    scores: dict[str, TiedRanking]
    accuracies: dict[str, TiedRanking]


def _failed(name: str, inside: np.ndarray, usable: np.ndarray, matched: Matched) -> int:
    if name in matched.failed:
        return int(matched.failed[name].to_numpy()[inside].sum())
    return int(inside.sum() - usable.sum())


def _row(
    name: str, scores: np.ndarray, accuracy: np.ndarray, usable: np.ndarray, ranked: _Ranked, metric: str
) -> dict[str, Any]:
    """The numbers of one proxy over the usable architectures, but for the intervals."""
    x, y = ranked.scores[name].among(usable), ranked.accuracies[metric].among(usable)
    row: dict[str, Any] = {"n": len(x), "ties": x.tied}
    if len(x) < _FEWEST:
        return row
    rx, ry, pair = x.ranks, y.ranks, Concordance.of(x, y)
    row["spearman"] = statistics.pearson(rx, ry)
    row["kendall"], row["pairs"], row["weighted_tau"] = pair.tau_b(), pair.share_right(), pair.weighted_tau()
    # Of three architectures one degree of freedom is left: the partial correlation would always be -1 or 1.
    if len(x) > _FEWEST and not np.isnan(ranked.matched.scores["params"].to_numpy()[usable]).any():
        rz = ranked.scores["params"].among(usable).ranks
        row["partial_spearman"] = statistics.partial(
            row["spearman"], statistics.pearson(rx, rz), statistics.pearson(ry, rz)
        )
    known, reached = scores[usable], accuracy[usable]
    row |= {key: statistics.precision_at(known, reached, share) for key, share in PRECISIONS.items()}
    row["regret"] = statistics.regret(known, reached)
    row["repeats_std"] = _repeats_std(name, accuracy, usable, ranked.matched)
    return row


def _repeats_std(name: str, accuracy: np.ndarray, usable: np.ndarray, matched: Matched) -> float:
    found = []
    for repeat in matched.repeats:
        if name in repeat:
            values = repeat[name].to_numpy(dtype=np.float64)
            both = usable & ~np.isnan(values)
            if both.sum() >= _FEWEST:
                found.append(statistics.spearman(values[both], accuracy[both]))
    return float(np.std(found, ddof=1)) if len(found) > 1 else float("nan")


def _ceiling(table: Table, metric: Metric, index: np.ndarray) -> dict[str, float]:
    where = table.answering[index]
    runs = [
        table.column(m)[where]
        for m in table.metrics()
        if m.seed != "mean" and replace(m, seed="mean") == replace(metric, seed="mean")
    ]
    single, mean = statistics.reliability(runs)
    return {"noise_ceiling": mean if metric.seed == "mean" else single, "seed_spearman": single}


def _add_intervals(
    rows: list[dict[str, Any]], used: list[bytes], ranked: _Ranked, *, resamples: int, confidence: float, seed: int
) -> list[str]:
    """Bootstrap together all that use the same architectures: they share the draws. Returns warnings."""
    together: dict[bytes, list[int]] = {}
    for i, packed in enumerate(used):
        together.setdefault(packed, []).append(i)
    size = len(ranked.matched.index)
    for packed, members in together.items():
        inside = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=size).astype(bool)
        proxies = list(dict.fromkeys(rows[i]["proxy"] for i in members))
        metrics = list(dict.fromkeys(rows[i]["metric"] for i in members))
        intervals = statistics.bootstrap_spearman(
            [ranked.scores[p].among(inside) for p in proxies],
            [ranked.accuracies[m].among(inside) for m in metrics],
            resamples=resamples,
            seed=seed,
            level=confidence,
        )
        for i in members:
            interval = intervals[proxies.index(rows[i]["proxy"])][metrics.index(rows[i]["metric"])]
            rows[i] |= {"spearman_low": interval.low, "spearman_high": interval.high}
            rows[i] |= {"undefined": interval.undefined, "no_interval": interval.reason}
    warnings = _missing_intervals(rows)
    if max((row["n"] for row in rows), default=0) <= statistics.EXACT_BOOTSTRAP_UP_TO:
        return warnings
    return [
        *warnings,
        f"Intervals over more than {statistics.EXACT_BOOTSTRAP_UP_TO:,} architectures are the normal limit of the "
        f"bootstrap (infinitesimal jackknife) in place of {resamples:,} resamples; where a few architectures decide, "
        f"the resamples are drawn.",
    ]


def _missing_intervals(rows: list[dict[str, Any]]) -> list[str]:
    """What a reader must know of intervals that are missing, or that leave out undefined resamples."""
    known = [row for row in rows if np.isfinite(row.get("spearman", np.nan))]
    few = [row for row in known if row["n"] < statistics.FEWEST_FOR_INTERVAL]
    reasons: dict[str, list[str]] = {}
    for row in known:
        if row["no_interval"] and row["n"] >= statistics.FEWEST_FOR_INTERVAL:
            reasons.setdefault(row["no_interval"], []).append(f"{row['proxy']} ({row['metric']}, {row['stratum']})")
    warnings = []
    if few:
        strata = ", ".join(dict.fromkeys(f"{row['stratum']}, n = {row['n']}" for row in few))
        warnings.append(
            f"Correlations of fewer than {statistics.FEWEST_FOR_INTERVAL} architectures ({strata}) have no interval: "
            f"it would claim too much."
        )
    warnings += [f"No interval of {', '.join(names)}: {reason}." for reason, names in reasons.items()]
    partly = [row["undefined"] for row in known if not row["no_interval"] and row["undefined"] > 0]
    if partly:
        warnings.append(
            f"In up to {100 * max(partly):.2g} % of the resamples a correlation is undefined (all drawn scores or "
            f"accuracies are equal): the interval leaves them out (column undefined)."
        )
    return warnings
