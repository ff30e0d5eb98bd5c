"""A score cache and a benchmark table, joined into what a report shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prejudge._version import __version__
from prejudge.benchmarks.statistics.agreement import proxy_agreement
from prejudge.benchmarks.statistics.correlation import correlate_matched
from prejudge.benchmarks.statistics.matched import BASELINES, Matched, match
from prejudge.benchmarks.statistics.rank_statistics import EXACT_BOOTSTRAP_UP_TO
from prejudge.benchmarks.table.metric import Metric
from prejudge.benchmarks.table.table import Table
from prejudge.report import ReportData

if TYPE_CHECKING:
    import pandas as pd

    from prejudge.cache.protocol import Protocol
    from prejudge.cache.store import ScoreCache

_UNITS = {"per cent": "%"}
_MOST_VALUES = 8


def report_data(
    source: ScoreCache | pd.DataFrame,
    table: Table,
    *,
    metrics: Metric | str | Sequence[Metric | str] | None = None,
    protocol: Protocol | str | None = None,
    directions: Mapping[str, bool] | None = None,
    title: str | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ReportData:
    """Everything that a report on these scores and these accuracies shows.

    Args:
        source: A score cache; or a frame of scores, indexed by architecture text, with a column per proxy.
        table: The trained accuracies.
        metrics: One or several metrics; by default every test column at its longest schedule.
        protocol: Which protocol of the cache, where it has several.
        directions: Whether a higher score means better, per proxy of a frame (by default it does).
        title: Heading; by default it names the space and the table.
        resamples: Bootstrap resamples.
        confidence: Coverage of the intervals.
        seed: Seed of the resamples and of the vote's opponents.

    Returns:
        Plain values for ``prejudge.report``; the correlations are those of :func:`prejudge.correlate`.

    Raises:
        InputError: As :func:`prejudge.correlate`.
    """
    import pandas as pd

    matched = match(source, table, metrics=metrics, protocol=protocol, directions=directions)
    correlations = correlate_matched(matched, table, resamples=resamples, confidence=confidence, seed=seed)
    warnings = list(correlations.attrs.pop("warnings"))
    first = correlations.drop_duplicates("proxy")
    quality = dict(zip(map(str, first["proxy"]), first["spearman"].fillna(0.0), strict=True))
    ensembles = [p for p in correlations["proxy"].unique() if p not in matched.scores]
    return ReportData(
        title=title or f"{table.space}: training-free scores against trained accuracies ({table.name})",
        space=table.space,
        correlations=correlations,
        scores=matched.scores,
        accuracies=matched.accuracies,
        params=matched.scores["params"],
        connected=pd.Series(matched.connected, index=matched.scores.index, name="connected"),
        agreement=proxy_agreement(matched.scores, matched.directions, quality),
        seconds=matched.seconds,
        failures=None if isinstance(source, pd.DataFrame) else source.failures(matched.protocol),
        protocol=matched.protocol.describe() if matched.protocol is not None else {},
        provenance=_provenance(source, table, matched, f"{confidence:.0%}", resamples, seed),
        warnings=[*warnings, *_warnings(matched, table, correlations)],
        directions=matched.directions,
        roles=dict.fromkeys(BASELINES, "baseline") | dict.fromkeys(ensembles, "ensemble"),
        unit=_UNITS.get(table.index.units["accuracy"], table.index.units["accuracy"]),
    )


def _provenance(
    source: ScoreCache | pd.DataFrame, table: Table, matched: Matched, level: str, resamples: int, seed: int
) -> dict[str, str]:
    import pandas as pd

    provenance = {"prejudge": __version__}
    if not isinstance(source, pd.DataFrame):
        provenance["score cache"] = source.path.name
        provenance |= {f"scored with: {k}": v for k, v in _summary(source.runs()).items() if k != "prejudge"}
    provenance["table"] = f"{table.name} ({table.path.name}, {table.index.digest})"
    provenance |= {f"table: {label}": text for label, text in table.index.provenance.items()}
    provenance["architectures"] = f"{len(matched.index):,} of {table.index.size:,}"
    provenance["repeats"] = str(max(1, len(matched.repeats)))
    provenance["intervals"] = f"{level} percentile bootstrap over architectures, {resamples} resamples, seed {seed}"
    if len(matched.index) > EXACT_BOOTSTRAP_UP_TO:
        provenance["intervals"] += f"; above {EXACT_BOOTSTRAP_UP_TO:,} architectures its normal limit"
    return provenance


def _summary(runs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The environments of the runs: every distinct value, or the first and last where there are many."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for key, value in run.items():
            texts = found.setdefault(str(key), [])
            if str(value) not in texts:
                texts.append(str(value))
    return {
        key: ", ".join(texts) if len(texts) <= _MOST_VALUES else f"{min(texts)} … {max(texts)} ({len(texts)} values)"
        for key, texts in found.items()
    }


def _warnings(matched: Matched, table: Table, correlations: pd.DataFrame) -> list[str]:
    warnings = []
    silent = [m for m, rows in correlations.groupby("metric", sort=False) if rows["noise_ceiling"].isna().all()]
    if silent:
        warnings.append(
            f"Table {table.name} has no single training seeds of {', '.join(map(str, silent))}, so how well its own "
            f"trainings agree (the noise ceiling) is not known."
        )
    if len(matched.repeats) < 2 and matched.protocol is not None:
        warnings.append("Every score was computed once; with --repeats the spread over seeds and batches is shown too.")
    counts = correlations[correlations["stratum"] == "all"].groupby("metric")["n"]
    if (counts.max() != counts.min()).any():
        warnings.append("Proxies have scores of different numbers of architectures (column n); compare them with care.")
    return warnings
