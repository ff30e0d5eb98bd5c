"""``prejudge cache``: look into score caches, export, merge and check them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from prejudge.cli import COMMANDS, output
from prejudge.cli.notation_option import Notation

app = App(
    name="cache",
    help=COMMANDS["cache"],
    help_epilogue="Example: prejudge cache info scores.h5",
)

_IMPORTED = ("architectures", "scores", "failed")

Protocol = Annotated[
    str | None, Parameter(help="Digest (or its beginning) of a protocol, where the cache has several.")
]


@app.command(help_epilogue="Example: prejudge cache info scores.h5")
def info(file: Path, /, *, as_json: output.Json = False) -> None:
    """Say which scores a cache holds, under which protocols, and what they cost.

    Args:
        file: Score cache (HDF5).
        as_json: Print JSON instead of text.
    """
    from prejudge.cache import ScoreCache

    with ScoreCache(file, "r") as cache:
        content = cache.info()
        failures = {protocol.digest: cache.failures(protocol) for protocol in cache.protocols()}
    if as_json:
        output.print_json(content)
        return
    size = f"{content['bytes'] / 1e6:.2f} MB" + (
        f" + {content['journal_bytes'] / 1e6:.2f} MB journal" * bool(content["journal_bytes"])
    )
    output.print_fields("", {"file": content["path"], "size": size, "runs": len(content["runs"])})
    for protocol in content["protocols"]:
        columns = protocol.pop("columns")
        print()
        output.print_fields("", protocol)
        output.print_columns("", columns)
        failed = failures[protocol["protocol"]]
        if len(failed):
            output.print_table(
                "why scores failed",
                ["scores", "proxies", "reason"],
                [[len(part), sorted(set(part["proxy"])), reason] for reason, part in failed.groupby("reason")],
                numeric=["scores"],
            )
    if not content["protocols"]:
        output.say("no scores yet")


@app.command(help_epilogue="Example: prejudge cache export scores.h5 --out scores.csv")
def export(
    file: Path,
    /,
    *,
    out: Path,
    protocol: Protocol = None,
    repeat: str = "mean",
    format: Literal["csv", "parquet"] | None = None,
    long: bool = False,
    as_json: output.Json = False,
) -> None:
    """Write the scores as a table: a row per architecture and a column per proxy.

    Args:
        file: Score cache (HDF5).
        out: File to write, .csv or .parquet.
        protocol: Digest (or its beginning) of a protocol, where the cache has several.
        repeat: mean, std or count over the repeats, or the number of one repeat.
        format: csv or parquet, where the file's ending does not say it.
        long: One row per single score, with its status, reason and seconds.
        as_json: Print JSON instead of text.
    """
    from prejudge.cache import ScoreCache

    with ScoreCache(file, "r") as cache:
        written = cache.export(out, protocol, int(repeat) if repeat.isdigit() else repeat, format=format, long=long)  # type: ignore[arg-type]
    _written(written, as_json)


@app.command(help_epilogue="Example: prejudge cache merge gpu0.h5 gpu1.h5 --out scores.h5")
def merge(
    *files: Path,
    out: Path,
    on_conflict: Literal["error", "keep", "replace"] = "error",
    as_json: output.Json = False,
) -> None:
    """Take the scores of some caches over into another one, new or existing.

    Args:
        files: Score caches to read.
        out: Score cache to add to.
        on_conflict: Where both have a score and the two differ: stop, keep that of --out, or replace it.
        as_json: Print JSON instead of text.
    """
    from prejudge.cache import ScoreCache
    from prejudge.errors import InputError
    from prejudge.formats.hdf5 import check_in_child

    if not files:
        raise InputError("name the caches to merge: prejudge cache merge A.h5 B.h5 --out ALL.h5")
    output.check_cache(out)
    for file in files:
        check_in_child(file)
    sources = [ScoreCache(file, "r") for file in files]
    with ScoreCache(out) as cache:
        report = cache.merge(*sources, on_conflict=on_conflict)
    if as_json:
        output.print_json(report)
    else:
        output.tell(
            f"{out}: {report.added} scores added, {report.equal} were there already, {report.conflicts} differed"
        )


@app.command(help_epilogue="Example: prejudge cache verify scores.h5")
def verify(file: Path, /, *, as_json: output.Json = False) -> int:
    """Check a cache: format, checksums of every column, and its journal.

    Args:
        file: Score cache (HDF5).
        as_json: Print JSON instead of text.
    """
    from prejudge.cache import verify as find_problems

    problems = find_problems(file)
    if as_json:
        output.print_json({"file": str(file), "problems": problems})
    else:
        for line in problems or [f"{file} is sound"]:
            output.tell(line)
    return 1 if problems else 0


@app.command(
    name="import",
    help_epilogue=(
        "Example: prejudge cache import nb2_cf10_seed42_base.p --out published.h5\n"
        "Example: prejudge cache import zc_nasbench201.json --dataset cifar10 --out suite-zero.h5\n"
        "Example: prejudge cache import synflow.csv --column index --dataset cifar10 --out freerea.h5"
    ),
)
def import_scores(
    file: Path,
    /,
    *,
    out: Path,
    space: str = "nasbench201",
    column: str | None = None,
    notation: Notation = None,
    dataset: str | None = None,
    proxies: str | None = None,
    repeat: int = 0,
    as_json: output.Json = False,
) -> None:
    """Take over scores that others computed: pickles of zero-cost-nas and HNAS, NASLib's zc_*.json, CSV.

    Nothing in the files is run. The cache says whose scores they are, and never mixes them with its own.

    Args:
        file: The .p, .json, .csv or .csv.gz file.
        out: Score cache to add to.
        space: Search space of the architectures.
        column: Column of architectures in a CSV file, where it is not arch_str; e.g. net_str, net, index.
        dataset: Of a JSON file: take this data set only. Of a CSV file: name of the images.
        proxies: Comma-separated names of the scores to take; all that look like scores if left out.
        repeat: Which repeat these are, where several files are the seeds of one protocol.
        as_json: Print JSON instead of text.
    """
    from prejudge.cache import ScoreCache
    from prejudge.cache import import_scores as take
    from prejudge.cli.arguments import split_list
    from prejudge.spaces import space as find_space

    where = find_space(space)
    _must_exist(file)
    chosen = split_list(proxies) if proxies is not None else None
    with ScoreCache(out) as cache:
        report = take(
            cache, file, space=where, column=column, notation=notation, dataset=dataset, proxies=chosen, repeat=repeat
        )
    if as_json:
        digests = {"protocol": report.protocol.digest, "protocols": [p.digest for p in report.protocols]}
        output.print_json({**digests, **{k: getattr(report, k) for k in (*_IMPORTED, "left_out")}})
        return
    output.tell(f"{out}: {report.scores} scores of {report.architectures} architectures, {report.failed} failed")
    for protocol in report.protocols:
        output.say(f"{protocol.digest}: {protocol.data or 'images not stated'}, {protocol.source}")
    if report.left_out:
        output.say(f"left out: {', '.join(report.left_out)}")
    output.say(f"next: prejudge report {out} --benchmark TABLE --out report.html")


def _must_exist(file: Path) -> None:
    """Say that an input is missing before an output is made."""
    from prejudge.errors import MissingDataError

    if not file.is_file():
        raise MissingDataError(f"no file {file}")


def _written(path: Path, as_json: bool) -> None:
    if as_json:
        output.print_json({"written": str(path)})
    else:
        output.tell(f"wrote {path}")
