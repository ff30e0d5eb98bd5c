"""``prejudge list``: what there is to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from cyclopts import App

from prejudge.cli import output

app = App(
    name="list",
    help_epilogue="Example: prejudge list proxies",
)

Kind = Literal["spaces", "genotypes", "proxies", "searches", "trainings", "datasets", "benchmarks", "recipes"]


@app.default
def show(kind: Kind, /, *, as_json: output.Json = False) -> None:
    """List what can be named elsewhere: spaces, genotypes, proxies, searches, trainings, datasets, benchmarks, recipes.

    Args:
        kind: What to list.
        as_json: Print JSON instead of text.
    """
    rows = _ROWS[kind]()
    if as_json:
        output.print_json(rows)
    elif not rows:
        output.say(f"no {kind} in this version")
    else:
        shown = [_brief(row) for row in rows]
        output.print_table("", list(shown[0]), [list(row.values()) for row in shown])


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    """The columns that fit on a terminal: no files, and options and references below the description."""
    brief = {
        key: value
        for key, value in row.items()
        if key not in ("file", "reference", "options", "note", "numbers", "text")
    }
    if row.get("options"):
        brief["what it is"] += f"\nOptions: {row['options']}"
    if "reference" in row:
        brief["what it is"] += f"\n({row['reference']})"
    return brief


def _spaces() -> list[dict[str, Any]]:
    from prejudge.spaces import space, space_names

    return [
        {
            "space": name,
            "architectures": found.extent,
            "macro-architecture": ", ".join(f"{k}={v}" for k, v in found.default_macro.items()),
        }
        for name in space_names()
        for found in [space(name)]
    ]


def _genotypes() -> list[dict[str, Any]]:
    from prejudge.spaces import genotype_names, published_genotype

    return [
        {
            "genotype": name,
            "space": found.space,
            "found on": found.dataset,
            "params (M)": round(found.params / 1e6, 2),
            "published (M)": found.published_millions,
            "paper": found.paper,
            "note": found.note,
            "text": str(found.genotype),
        }
        for name in genotype_names()
        for found in [published_genotype(name)]
    ]


def _described(found: Any) -> dict[str, str]:
    """The columns of everything that is registered: description, options and reference."""
    options = ", ".join(f"{k}={v!r}" for k, v in found.options.items())
    return {"what it is": found.summary, "options": options, "reference": found.reference}


def _proxies() -> list[dict[str, Any]]:
    from prejudge.proxies import registry

    return [
        {
            "proxy": name,
            "better": "higher" if found.higher_is_better else "lower",
            "labels": "yes" if found.needs_labels else "no",
            **_described(found),
        }
        for name in registry.names()
        for found in [registry.get(name)]
    ]


def _searches() -> list[dict[str, Any]]:
    import prejudge.search  # noqa: F401 - registers the built-in ones
    from prejudge.search.registry import register

    return [
        {
            "search": name,
            "what it is": found.summary,
            "options": ", ".join(f"{k}={v!r}" for k, v in found.options.items() if v is not None),
            "reference": found.reference,
        }
        for name in register.names()
        for found in [register.get(name)]
    ]


def _trainings() -> list[dict[str, Any]]:
    from prejudge.train.recipes.published import PUBLISHED, published_recipe

    return [
        {
            "--recipe": paper,
            "images": data,
            "space": found.space,
            "epochs": found.training.epochs,
            "batch": found.training.batch_size,
            "learning rate": found.training.learning_rate,
            "network": ", ".join(
                f"{k} {v}" for k, v in found.macro if k in ("channels", "cells", "stacks", "stem", "form")
            ),
            "note": "; ".join(found.notes),
            "numbers": found.as_dict(),
        }
        for paper, of in PUBLISHED.items()
        for data in of
        for found in [published_recipe(paper, data)]
    ]


def _datasets() -> list[dict[str, Any]]:
    from prejudge.data.loading import KINDS

    return [{"--data": kind, "what it is": text} for kind, text in KINDS.items()]


def _benchmarks() -> list[dict[str, Any]]:
    from prejudge.benchmarks import benchmark, benchmark_names

    found = [benchmark(name) for name in benchmark_names()]
    return [
        {
            "benchmark": table.name,
            "space": table.space,
            "datasets": list(dict.fromkeys(m.dataset for m in table.metrics())),
            "splits": list(dict.fromkeys(m.split for m in table.metrics())),
            "epochs": list(dict.fromkeys(m.epochs for m in table.metrics())),
            "file": str(table.path),
        }
        for table in found
    ]


def _recipes() -> list[dict[str, Any]]:
    from prejudge.pipeline import recipe

    return [
        {"recipe": name, "title": recipe.read(str(path)).get("title", ""), "file": str(path)}
        for name, path in recipe.shipped().items()
    ]


_ROWS: dict[Kind, Callable[[], list[dict[str, Any]]]] = {
    "spaces": _spaces,
    "genotypes": _genotypes,
    "proxies": _proxies,
    "searches": _searches,
    "trainings": _trainings,
    "datasets": _datasets,
    "benchmarks": _benchmarks,
    "recipes": _recipes,
}
