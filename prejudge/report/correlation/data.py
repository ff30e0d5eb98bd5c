"""The content of a report on scores: plain values, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prejudge.errors import InputError, unknown

if TYPE_CHECKING:
    import pandas as pd

ROLES = ("proxy", "baseline", "ensemble")
BASELINES = ("params", "flops")


@dataclass(frozen=True)
class ReportData:
    """The content of one report.

    Only values: the report knows no cache, no table and no space object. A number that is not known is NaN (or its
    column is left out) and shown as a dash, never as 0.

    Attributes:
        title: Heading of the report.
        space: Name of the search space.
        correlations: One row per metric, stratum and proxy. Must have ``metric``, ``stratum``, ``proxy`` and
            ``spearman``; shows where present: ``n``, ``failed``, ``ties``, ``spearman_low``, ``spearman_high``,
            ``undefined`` (share of the resamples without a correlation), ``no_interval`` (why there is none),
            ``kendall``, ``weighted_tau``, ``partial_spearman`` (given params), ``pairs`` (share of concordant pairs),
            ``precision_at_*`` (``precision_at_10pct`` is P@10 %, ``precision_at_10`` is P@10), ``regret`` (unit of the
            metric), ``repeats_std``, ``noise_ceiling``, ``seconds`` (per architecture). Correlations are signed: the
            declared direction is applied already.
        scores: Raw scores: index = architecture text, one column per proxy; NaN where a score failed.
        accuracies: Trained accuracies: the same index, one column per metric text (as in ``correlations.metric``).
        params: Parameter counts on the same index, or None.
        connected: Whether the cell's output depends on its input, on the same index; None counts all as connected.
        agreement: Rank correlations between proxies, each turned so that higher is better: one row per ordered pair
            with ``proxy``, ``other``, ``spearman`` and ``n`` architectures that both score, in the order to be shown;
            None where they were not computed.
        seconds: Mean seconds per architecture of each proxy by itself.
        failures: Columns ``architecture``, ``proxy``, ``reason`` (``repeat`` if present is shown as a count).
        protocol: What the scores depend on, label to text, in the order to be shown.
        provenance: Versions, files, machine, label to text. A time of day belongs here or nowhere: writers add none.
        warnings: What a reader must know to trust it, one sentence or paragraph each.
        directions: Whether a higher raw score means better, per proxy; a proxy that is left out is higher-is-better.
        roles: ``"proxy"``, ``"baseline"`` or ``"ensemble"`` per row; what is left out is a baseline if it is ``params``
            or ``flops``, an ensemble if it has no column in ``scores`` (rank average, vote), and a proxy otherwise.
        unit: Unit of accuracies and regret.

    Raises:
        InputError: A column is missing, or indices disagree.
    """

    title: str
    space: str
    correlations: pd.DataFrame
    scores: pd.DataFrame
    accuracies: pd.DataFrame
    params: pd.Series | None = None
    connected: pd.Series | None = None
    agreement: pd.DataFrame | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    failures: pd.DataFrame | None = None
    protocol: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    directions: Mapping[str, bool] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    unit: str = "%"

    def __post_init__(self) -> None:
        _require(self.correlations, "correlations", ("metric", "stratum", "proxy", "spearman"))
        if self.failures is not None:
            _require(self.failures, "failures", ("architecture", "proxy", "reason"))
        if self.agreement is not None:
            _require(self.agreement, "agreement", ("proxy", "other", "spearman", "n"))
        keys = self.correlations[["metric", "stratum", "proxy"]]
        if keys.duplicated().any():
            twice = tuple(keys[keys.duplicated()].iloc[0])
            raise InputError(f"correlations name {twice} twice; keep one row per metric, stratum and proxy")
        if self.scores.index.has_duplicates or self.scores.columns.has_duplicates:
            raise InputError("scores name an architecture or a proxy twice; average the repeats first")
        for name, values in (("accuracies", self.accuracies), ("params", self.params), ("connected", self.connected)):
            if values is not None and not values.index.equals(self.scores.index):
                raise InputError(f"{name} and scores list different architectures; reindex {name} by scores.index")
        for name, role in self.roles.items():
            if role not in ROLES:
                raise unknown(f"role of {name!r}:", role, ROLES)

    @property
    def metrics(self) -> list[str]:
        """The metrics of the correlations, in their order of appearance."""
        return [str(metric) for metric in self.correlations["metric"].unique()]

    @property
    def strata(self) -> list[str]:
        """The strata of the correlations, in their order of appearance."""
        return [str(stratum) for stratum in self.correlations["stratum"].unique()]

    def role(self, proxy: str) -> str:
        """``"proxy"``, ``"baseline"`` or ``"ensemble"``."""
        if proxy in self.roles:
            return self.roles[proxy]
        if proxy in BASELINES:
            return "baseline"
        return "proxy" if proxy in self.scores.columns else "ensemble"

    def higher_is_better(self, proxy: str) -> bool:
        """The declared direction of ``proxy``."""
        return bool(self.directions.get(proxy, True))

    def rows(self, metric: str | None = None, stratum: str | None = None) -> pd.DataFrame:
        """The correlations of a metric and a stratum.

        Args:
            metric: Text of a metric; None takes all.
            stratum: Name of a stratum; None takes all.

        Returns:
            The rows in the given order, with a fresh index.

        Raises:
            InputError: There is no such metric or stratum.
        """
        table = self.correlations
        for column, wanted, known in (("metric", metric, self.metrics), ("stratum", stratum, self.strata)):
            if wanted is None:
                continue
            if wanted not in known:
                raise unknown(column, wanted, known)
            table = table[table[column].astype(str) == wanted]
        return table.reset_index(drop=True)


def _require(frame: pd.DataFrame, name: str, columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InputError(f"{name} lack the column {missing[0]!r}; they need {', '.join(columns)}")
