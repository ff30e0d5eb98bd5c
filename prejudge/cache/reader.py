"""Reading scores: frames, failures, costs, missing ones; independent of how they are stored."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from prejudge.cache import layout
from prejudge.cache.protocol import Protocol, differences
from prejudge.cache.scores import FAILED, MISSING, OK, Column, Contents, ProtocolScores
from prejudge.errors import InputError, unknown
from prejudge.formats.atomic import beside

if TYPE_CHECKING:
    import pandas as pd

    from prejudge.spaces.base import Space

_DECLARED = {
    "proxy": "", "version": 1, "reference": "", "summary": "", "reads": [], "options": {}, "higher_is_better": True,
    "needs_labels": False, "deterministic": True, "invariant_to_dead_edges": False, "min_batch": 1,
}  # fmt: skip
"""The values of :meth:`ScoreReader.column_info` where a column's declaration does not give them."""


class ScoreReader:
    """The reading half of :class:`~prejudge.cache.store.ScoreCache`.

    Args:
        path: The file that the scores come from; error messages name it.
        contents: The scores.
    """

    def __init__(self, path: Path, contents: Contents) -> None:
        self.path = path
        self._contents = contents

    def protocols(self) -> list[Protocol]:
        """The protocols that have scores here, in the order of their arrival."""
        return [scores.protocol for scores in self._contents.protocols.values()]

    def protocol(self, chosen: Protocol | str | None = None) -> Protocol:
        """One protocol of this cache.

        Args:
            chosen: A protocol, the start of its digest, or None where there is only one.

        Raises:
            InputError: There is none, it is not here, or several answer; the message tells them apart.
        """
        return self._scores(chosen).protocol

    def architectures(self, protocol: Protocol | str | None = None) -> list[str]:
        """Texts of the architectures that have any score, in the order of their arrival."""
        return list(self._scores(protocol).architectures)

    def columns(self, protocol: Protocol | str | None = None) -> list[str]:
        """Names of the columns, one per proxy with its options, e.g. ``"snip"`` or ``"zen(images=32)"``."""
        return list(self._scores(protocol).columns)

    def column_info(self, column: str, protocol: Protocol | str | None = None) -> dict[str, Any]:
        """The declaration of a column's proxy: ``higher_is_better``, ``needs_labels``, ``version`` and so on.

        Without a protocol the first one that has the column answers.
        """
        if protocol is not None:
            return _DECLARED | self._column(self._scores(protocol), column).info
        for scores in self._contents.protocols.values():
            if column in scores.columns:
                return _DECLARED | scores.columns[column].info
        raise unknown(
            f"column of {self.path}", column, {c for s in self._contents.protocols.values() for c in s.columns}
        )

    def runs(self) -> list[dict[str, Any]]:
        """The environment of each run that added scores: versions, device, threads, date."""
        return [dict(run) for run in self._contents.runs]

    def frame(
        self,
        protocol: Protocol | str | None = None,
        repeat: int | Literal["mean", "std", "count"] = "mean",
        *,
        columns: Sequence[str] | None = None,
        space: Space[Any] | None = None,
        expand: bool = False,
    ) -> pd.DataFrame:
        """Scores as a table: one row per architecture (its text is the index), one column per proxy.

        Args:
            protocol: Which protocol; needed where the cache has several, since they are never pooled.
            repeat: One repeat, or over the successful ones their ``"mean"``, ``"std"`` (with n - 1; NaN for fewer than
                two) or ``"count"``.
            columns: Which columns; all by default.
            space: The space, for ``expand``.
            expand: Give every architecture of the space its class representative's value in the columns whose proxy is
                declared invariant to dead edges, where it has none of its own; rows are then in the space's index
                order. The other columns (params, flops, l2_norm …) belong to the single architecture and stay.

        Returns:
            float64 values; NaN where a score is missing or failed (:meth:`failures` says why).

        Raises:
            InputError: The protocol is ambiguous or not here, or there is no such column or repeat.
        """
        import pandas as pd

        scores = self._scores(protocol)
        names = list(scores.columns) if columns is None else list(columns)
        values = {name: self._values(scores, name, repeat) for name in names}
        index = pd.Index(scores.architectures, name="architecture", dtype=object)
        frame = pd.DataFrame(values, index=index, columns=names, dtype=float)
        if not expand:
            return frame
        if space is None:
            raise InputError("expand=True needs the space: frame(space=space, expand=True)")
        from prejudge.cache.sharing import expand_frame

        known = {name: (scores.full(name).status != MISSING).any(1) for name in names}
        shared = [n for n in names if self.column_info(n, scores.protocol)["invariant_to_dead_edges"]]
        return expand_frame(frame, known, shared, space)

    def values(self, protocol: Protocol | str | None, column: str) -> np.ndarray:
        """All repeats of one column, shape (architectures, repeats); NaN where missing or failed."""
        return self._column(self._scores(protocol), column).value.copy()

    def scores(self, protocol: Protocol | str | None, column: str) -> pd.DataFrame:
        """One column in long form: architecture, repeat, status, value, seconds, reason, run; one row per score."""
        import pandas as pd

        scores = self._scores(protocol)
        data = self._column(scores, column)
        rows, repeats = np.nonzero(data.status != MISSING)
        names = np.array(scores.architectures, dtype=object)
        return pd.DataFrame(
            {
                "architecture": names[rows],
                "repeat": repeats,
                "status": np.where(data.status[rows, repeats] == OK, "ok", "failed"),
                "value": data.value[rows, repeats],
                "seconds": data.seconds[rows, repeats].astype(float),
                "reason": [data.reasons.get(at, "") for at in zip(rows.tolist(), repeats.tolist(), strict=True)],
                "run": data.run[rows, repeats],
            }
        )

    def failures(self, protocol: Protocol | str | None = None) -> pd.DataFrame:
        """Every failed score with its reason: architecture, proxy, repeat, reason."""
        import pandas as pd

        scores = self._scores(protocol)
        rows = [
            (scores.architectures[row], name, repeat, reason)
            for name, column in scores.columns.items()
            for (row, repeat), reason in sorted(column.reasons.items())
        ]
        return pd.DataFrame(rows, columns=["architecture", "proxy", "repeat", "reason"])

    def counts(self, protocol: Protocol | str | None, column: str, *, first_run: int = 0) -> tuple[int, int]:
        """The numbers of scores of a column that are there and that failed, of all runs or from ``first_run`` on."""
        data = self._column(self._scores(protocol), column)
        status = data.status[data.run >= first_run] if first_run else data.status
        return int(np.count_nonzero(status == OK)), int(np.count_nonzero(status == FAILED))

    def seconds(self, protocol: Protocol | str | None = None) -> dict[str, float]:
        """Mean cost of one successful score per column, in seconds; NaN where unknown."""
        means = {}
        for name, column in self._scores(protocol).columns.items():
            costs = column.seconds[(column.status == OK) & np.isfinite(column.seconds)]
            means[name] = float(costs.mean(dtype=np.float64)) if costs.size else math.nan
        return means

    def missing(
        self,
        protocol: Protocol,
        architectures: Iterable[object],
        columns: Sequence[str],
        repeats: int = 1,
        *,
        retry_failed: bool = False,
        first_run: int = 0,
    ) -> list[tuple[str, int, tuple[str, ...]]]:
        """List the scores that are still to be computed.

        Args:
            protocol: The protocol; it need not be here yet.
            architectures: Architectures or their texts.
            columns: Columns that are wanted.
            repeats: Repeats 0 to ``repeats - 1`` are wanted.
            retry_failed: Whether failed scores count as missing.
            first_run: Scores of runs before this one count as missing, and those of an unknown run unless it is 0.

        Returns:
            ``(architecture, repeat, columns)`` for each that lacks any, first all of repeat 0, then of repeat 1 …
        """
        texts = list(dict.fromkeys(map(str, architectures)))
        if not texts or not columns:
            return []
        scores = self._contents.protocols.get(protocol.digest) or ProtocolScores(protocol)
        rows = np.array([scores.row.get(text, -1) for text in texts], dtype=np.int64)
        lacking = np.ones((repeats, len(texts), len(columns)), dtype=bool)
        for number, name in enumerate(columns):
            if name in scores.columns and scores.architectures:
                column = scores.full(name)
                known = (column.status == OK) if retry_failed else (column.status != MISSING)
                if first_run:
                    known = known & (column.run >= first_run)
                for repeat in range(min(repeats, column.repeats)):
                    lacking[repeat, :, number] = (rows < 0) | ~known[rows, repeat]
        # Most architectures lack the same columns: each combination is spelt out once.
        packed = np.packbits(lacking, axis=2).reshape(repeats * len(texts), -1)
        patterns, which = np.unique(packed, axis=0, return_inverse=True)
        spelt = [
            tuple(name for name, lacks in zip(columns, np.unpackbits(p, count=len(columns)), strict=True) if lacks)
            for p in patterns
        ]
        of = which.reshape(repeats, len(texts))
        return [(texts[i], repeat, spelt[of[repeat, i]]) for repeat, i in np.argwhere(lacking.any(2)).tolist()]

    def info(self) -> dict[str, Any]:
        """The cache in plain values (for ``cache info`` and JSON): file, protocols, columns, runs."""
        journal = beside(self.path, ".journal")
        return {
            "path": str(self.path),
            "format": layout.VERSION,
            "bytes": self.path.stat().st_size if self.path.exists() else 0,
            "journal_bytes": journal.stat().st_size if journal.exists() else 0,
            "protocols": [
                {
                    **scores.protocol.describe(),
                    "architectures": len(scores.architectures),
                    "repeats": scores.repeats,
                    "columns": {
                        name: {
                            "version": column.info.get("version", 1),
                            "source": column.info.get("source", ""),
                            **dict(zip(("ok", "failed"), self.counts(scores.protocol, name), strict=True)),
                            "repeats": column.repeats,
                            "seconds": None if math.isnan(costs[name]) else costs[name],
                            "digest": layout.column_digest(scores.full(name)),
                        }
                        for name, column in scores.columns.items()
                    },
                }
                for scores, costs in ((s, self.seconds(digest)) for digest, s in self._contents.protocols.items())
            ],
            "runs": self.runs(),
        }

    def export(
        self,
        path: str | os.PathLike[str],
        protocol: Protocol | str | None = None,
        repeat: int | Literal["mean", "std", "count"] = "mean",
        *,
        format: Literal["csv", "parquet"] | None = None,
        long: bool = False,
    ) -> Path:
        """Write :meth:`frame` as ``.csv`` or ``.parquet`` (by suffix); with ``long`` one row per score with its status.

        Raises:
            InputError: The format is neither, or several protocols and none is chosen.
        """
        import pandas as pd

        from prejudge.cache.export import check_format, write_frame

        chosen = check_format(Path(path), format)
        if long:
            parts = [self.scores(protocol, name).assign(proxy=name) for name in self.columns(protocol)]
            frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        else:
            frame = self.frame(protocol, repeat).reset_index()
        write_frame(frame, Path(path), chosen)
        return Path(path)

    def _scores(self, chosen: Protocol | str | None) -> ProtocolScores:
        known = self._contents.protocols
        if not known:
            raise InputError(f"{self.path} holds no scores yet")
        if chosen is None:
            if len(known) > 1:
                texts = [f"{digest[:8]} ({text})" for digest, text in differences(self.protocols()).items()]
                raise InputError(
                    f"{self.path} holds {len(known)} protocols, which are never pooled; choose one: {'; '.join(texts)}"
                )
            return next(iter(known.values()))
        digest = chosen.digest if isinstance(chosen, Protocol) else chosen
        matches = [scores for key, scores in known.items() if digest and key.startswith(digest)]
        if len(matches) != 1:
            raise unknown(f"protocol of {self.path}", digest, known)
        return matches[0]

    def _column(self, scores: ProtocolScores, name: str) -> Column:
        if name not in scores.columns:
            raise unknown(f"column of {self.path}", name, scores.columns)
        return scores.full(name)

    def _values(self, scores: ProtocolScores, name: str, repeat: int | str) -> np.ndarray:
        column = self._column(scores, name)
        if repeat == "mean":
            return column.mean(len(scores.architectures))
        if repeat == "count":
            result: np.ndarray = (column.status == OK).sum(1).astype(float)
            return result
        if repeat == "std":
            return _spread(column.value)
        if isinstance(repeat, str) or not 0 <= repeat < max(scores.repeats, 1):
            raise InputError(
                f"{self.path} has repeats 0 to {scores.repeats - 1}, no {repeat!r}; or take 'mean', 'std', 'count'"
            )
        if repeat >= column.repeats:
            return np.full(len(scores.architectures), np.nan)
        return column.value[:, repeat].copy()


def _spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation (n - 1) over the known repeats; NaN for fewer than two."""
    known = np.isfinite(values)
    count = known.sum(1)
    mean = np.divide(np.where(known, values, 0.0).sum(1), count, out=np.zeros(len(count)), where=count > 0)
    squares = np.where(known, (values - mean[:, None]) ** 2, 0.0).sum(1)
    result: np.ndarray = np.sqrt(np.divide(squares, count - 1, out=np.full(len(count), np.nan), where=count > 1))
    return result
