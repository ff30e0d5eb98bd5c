"""Targets: what the command line is told, recipes in YAML, and the record of a chain."""

from __future__ import annotations

import random
import shlex
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts.exceptions import CycloptsError

from prejudge.cli import _one_line, build_app, recipe_option
from prejudge.cli.arguments import pairs, split_list
from prejudge.cli.run_command import _ThisProcess
from prejudge.cli.search_objective import TableOptions
from prejudge.data.dataset import ImageDataset
from prejudge.data.loading import _parse as parse_data_kind
from prejudge.engine.journal import _encode
from prejudge.engine.ray.connection import _host_and_port
from prejudge.errors import InputError
from prejudge.pipeline import recipe as recipes
from prejudge.pipeline import running
from prejudge.pipeline.run_folder import RunFolder
from prejudge.proxies import resolve
from prejudge.search.recommendation import choose_architecture
from prejudge.search.registry import register as searches
from prejudge.spaces import genotype_names, select, space
from prejudge.train.recipes.published import PUBLISHED
from prejudge.train.recipes.resolve import fitted_recipe
from tests.fuzz.harness import ATTEMPTS, file_target, text_target
from tests.fuzz.mutation import with_other_values
from tests.fuzz.text_spaces import CELL_101, CELL_201, GENOTYPE, nasbench101

_BRACKETS = ["(" * 5000, "[" * 300, "-" * 5000, "{", "}", "[", "]", "(", ")", ",", "="]
_HUGE = ["9" * 5000, "0x" + "f" * 9000, "²", "٣", "1e999", "-1"]

text_target(
    "pairs",
    lambda text: pairs([text, "a=1"]),
    ["epochs=50", "a=[1, 2], b-c='x, y'", "lr=1e-3,form=official", "x=None"],
    [*_BRACKETS, *_HUGE, "True", "'", '"', "lambda: 0", "__import__('os')"],
)


def _selection(where: Any, seed: int) -> Callable[[str], None]:
    def read(text: str) -> None:
        if len(text.partition("random:")[2].strip()) > 3:
            return  # a million may be drawn, which takes as long as it takes
        found = select(where, text, seed=seed)
        assert len(found) == len(set(found)) > 0

    return read


text_target(
    "archs",
    _selection(space("nasbench201"), 0),
    ["random:3", "unique:2", "5", CELL_201, "random:0", "unique:", "random:²", "a" * 5000, "archs.txt", "a\x00b"],
    ["random:", "unique:", "all", "unique", ":", "/", "\x00", *_HUGE],
)
text_target(
    "archs-darts",
    _selection(space("darts"), 1),
    ["random:3", GENOTYPE, "DARTS_V2", "random:1000001", "unique"],
    ["random:", "unique:", *genotype_names()[:5], *_HUGE],
)
file_target(
    "archs-file",
    "archs.txt",
    lambda path: _selection(space("nasbench201"), 0)(str(path)),
    lambda: [f'# two of them\n{CELL_201}\n"{CELL_201}" # again\n\n17\n'.encode(), b"0\r\n1\r2\x0b3"],
    [CELL_201.encode(), b"#", b'"', b"\x0c", b"\x85", b"12"],
)
file_target(
    "archs-file-nasbench101",
    "archs.txt",
    lambda path: _selection(nasbench101(), 0)(str(path)),
    lambda: [f"{CELL_101}\n1:\n12\n".encode()],
    [CELL_101.encode(), b"#", b'"', b"{", b"matrix"],
)
text_target(
    "proxies",
    lambda text: resolve(split_list(text)),
    ["snip", "params,flops", "zen(images=32, scale=1)", "ntk_trace", "mine.py:x", ":", "naswot()"],
    [*_BRACKETS, *_HUGE, "images=", "**{}", "*a", ".py:", "f(", ")(", "lambda: 0", "x" * 5000, "\x00", "\n"],
)
text_target(
    "search-method",
    searches.read,
    ["random", "evolution", "evolution(population=10, sample=3)", "mine.py:x"],
    [*_BRACKETS, *_HUGE, "population=", "**{}", ".py:", ")(", "\x00", "\n"],
)
text_target(
    "table-seed",
    lambda text: TableOptions(run_seed=text)._seed(),
    ["mean", "random", "777", "²"],
    _HUGE,
)
text_target(
    "ray-address",
    _host_and_port,
    ["127.0.0.1:6379", "ray://head:10001", "ray://head", "[::1]:6379", "h:²"],
    ["ray://", ":", "[", "]", "@", "/", *_HUGE],
)
text_target(
    "data-kind",
    parse_data_kind,
    ["digits", "npz:a.npz", "folder:pictures@64", "imagenet@224", "folder:a@b@²"],
    ["@", ":", "~", "~nobody", "\x00", "folder:", "imagenet", "/", "x" * 5000, *_HUGE],
)


def _choose(text: str) -> None:
    found = choose_architecture(text)
    assert found.space.parse(str(found.architecture)) == found.architecture


text_target(
    "chosen",
    _choose,
    [GENOTYPE, CELL_201, "DARTS_V2", "matrix{", "mine.json", "a" * 5000, "a\x00b", "5"],
    ["~", "matrix", "Genotype(", "{", "|", "=", "/", ".", "\x00", *genotype_names()[:4], *_HUGE],
)
file_target(
    "chosen-file",
    "found.txt",
    lambda path: choose_architecture(str(path)),
    lambda: [GENOTYPE.encode(), CELL_201.encode(), b'{"matrix": [], "ops": []}'],
    [b"~", b"matrix", b"Genotype(", b"{", CELL_201.encode()],
)


_MINE = ImageDataset("mine", np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.int64), 10, (0.5,) * 3, (0.5,) * 3)


def _published(text: str) -> None:
    paper, _, rest = text.partition(" ")
    given = pairs([rest]) if rest else {}
    fitted_recipe(paper, "darts", _MINE, training={k: v for k, v in given.items() if k != "images"})


text_target(
    "published-recipe",
    _published,
    ["darts", "darts epochs=5", "ista learning_rate=0.1,momentum=0", "nasbench201"],
    [*PUBLISHED, " epochs=", ",schedule=linear", ",optimizer=rmsprop", "None", "[1]", "True", *_HUGE],
)

_RECIPE = """
title: Search and train
search darts:
  space: nasbench201
  data: digits
  epochs: 2
  channels: 4
  out: found.h5
train:
  genotype: "{search}"
  data: digits
  epochs: 1
train (again):
  genotype: found.h5
  data: digits
  drop-path: 0.1
report:
  files: ["{train}", "{train (again)}"]
expected:
  what: test error
  value: 2.76
  step: train
"""
_YAML = [
    "!!python/object/apply:os.system [touch executed]", "!!python/name:os.system ''", "!!binary aGk=", "!!set {a, b}",
    "!!timestamp 2001-01-01", "2001-99-99", "!!int '²'", "!!float 'x'", "!!omap [a: 1]", "!!merge <<", "<<: *a", "&a",
    "*a", "&a [*a]", "&a {b: *a}", "? [1, 2]\n: 3", "? {a: 1}\n: 2", "---\n", "...\n", "%YAML 9.9\n", "%TAG ! tag:x\n",
    "!", "|\n", ">\n", "\t", "0x" + "f" * 2000, "9" * 5000, "1:59:59", "0o777", "0b1", ".inf", ".nan", "~", "yes",
    "null", "[" * 500, "{" * 500, "- " * 500, "'", '"', "\\U00110000", '"\\ud800"', "\x00", "\x85", "\ufeff",
    "{search}", "{x}", "{}",
    "search:", "score:", "bench train:", "train (a):", "out: ../../x", "out: /tmp/x", "out: [1]", "out: ''", "recipe:",
    "demo:", "run:", "set:", "draw:", "cache merge:", ": ", "- ",
]  # fmt: skip


def _bomb(depth: int, width: int) -> str:
    """The billion laughs: every anchor names the one before it ``width`` times."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join(lines)


_LAUGHS = [
    f"title: x\n{_bomb(30, 9)}\ntrain:\n  data: *a29\n",
    f"title: x\n{_bomb(30, 9)}\nexpected: *a29\ntrain:\n  data: x\n",
    f"{_bomb(9, 9)}\n*a8 : 1\n",
    "a: &a\n  b: *a\ntrain: *a\n",
    "train: &t\n  data: *t\n",
    "a: &a {<<: [*a, *a]}\ntrain: {<<: *a}\n",
    "a0: &a0 {x0: 1, y0: 2}" + "".join(f"\na{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], x{n}: 1}}" for n in range(1, 25)),
    "train: {" + ", ".join(f"k{n}: {n}" for n in range(100)) + "}\n",
    "[" * 3000,
    "{a: " * 1000,
    "train:\n" + "".join(" " * n + "a:\n" for n in range(1, 70)),
    "train:\n  data: x\ntrain:\n  data: y\n",
    "train:\n  data: x\nTRAIN (X):\n  data: y\ntrain (x ):\n  data: z\n",
    "- 1\n", "1", "", "\x00", "---\na: 1\n---\nb: 2\n", "train:\n  epochs: 0x" + "f" * 9000 + "\n",
]  # fmt: skip


def _yaml(rng: random.Random) -> bytes:
    """A recipe of random sections and values."""
    lines = []
    for _ in range(rng.randrange(1, 5)):
        words = rng.choice(
            ("search", "search darts", "train", "test", "score", "report", "bench train", "draw", "cache")
        )
        label = rng.choice(("", "", " (a)", " (b)", " ()", f" ({rng.choice(_YAML)})"))
        lines.append(f"{words}{label}: {rng.choice(('', '', '', *_YAML))}")
        for _ in range(rng.randrange(4)):
            name = rng.choice(
                ("out", "data", "epochs", "genotype", "files", "space", "set", "device", rng.choice(_YAML))
            )
            value = rng.choice(("{search}", "{train}", "1", "x", "[a, b]", "{search darts}", "{}", rng.choice(_YAML)))
            lines.append(f"  {name}: {value}")
    return "\n".join(lines).encode()


def _as_error(error: CycloptsError) -> InputError:
    return InputError(_one_line(error))  # as the command line prints it


def _chain(path: Path) -> None:
    for name, section in recipes.read(str(path)).items():
        with suppress(InputError):  # what another step must give
            recipe_option._check_given(str(name), section, ())  # type: ignore[arg-type]
    chain = running.plan(str(path), [], "cpu")
    for step in chain.steps:
        chain.words(step, Path("out"))
        chain.key(step)
        place = step.place(Path("out"))
        assert place.resolve().is_relative_to(Path("out").resolve()) and place.resolve() != Path("out").resolve(), place


file_target(
    "recipe",
    "recipe.yaml",
    _chain,
    lambda: [text.encode("utf-8", "surrogateescape") for text in (_RECIPE, *_LAUGHS)],
    [text.encode("utf-8", "surrogatepass") for text in _YAML],
    generate=_yaml,
)


def _checked(path: Path) -> None:
    running.check(running.plan(str(path)), Path("out"), _ThisProcess(as_json=False))


file_target(
    "recipe-check",
    "recipe.yaml",
    _checked,
    lambda: [recipes.shipped()[name].read_bytes() for name in ("digits-darts", "darts-cifar10", "ista-cifar10")],
    [text.encode("utf-8", "surrogatepass") for text in _YAML],
    seconds=5.0,
    one_in=20,
)


def _filled(path: Path) -> None:
    try:
        build_app().parse_args(["train", "--recipe", str(path)], print_error=False, exit_on_error=False)
        build_app().parse_args(["score", "--recipe", str(path)], print_error=False, exit_on_error=False)
    except CycloptsError as error:
        raise _as_error(error) from error


file_target(
    "recipe-option",
    "recipe.yaml",
    _filled,
    lambda: [
        b"train:\n  genotype: DARTS_V2\n  data: digits\n  out: x\nscore:\n  space: darts\n  data: digits\n  out: y\n",
        *(text.encode() for text in _LAUGHS),
    ],
    [text.encode("utf-8", "surrogatepass") for text in [*_YAML, "  seed: 1", "  macro: [a=1]", "  epochs: {a: 1}"]],
    seconds=5.0,
    one_in=20,
)


def _words(text: str) -> None:
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    if {"--help", "-h", "--version"} & set(words):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build_app().parse_args(words, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        raise _as_error(error) from error


text_target(
    "command-line",
    _words,
    [
        "score nasbench201 --data digits --archs random:5 --out a.h5 --proxies snip",
        "search evolution --benchmark digits --queries 50 --seeds 20 --out e.h5 --option population=10",
        "train DARTS_V2 --data digits --out run --epochs 1 --macro a=1 --channels 4",
        "bench query digits 5 --epochs 7", "cache info a.h5 --json", "report a.h5 --benchmark digits --out r.html",
        "list spaces", "run recipe --set train.epochs=5", "draw DARTS_V2", "test run --data digits",
    ],
    [
        "--seed ", "--epochs=", "--channels ", "--macro ", "--json", "--option", "--threads", "--budget", "--", "-",
        "--set.x", "--images.data", "--network '{}'", "--network.channels=[1]", "[1,2]", "{\"a\": 1}", " ", "'", *_HUGE,
        "score", "search", "bench", "import", "train", "csv", "--curves 1 2 x", "--no-json", "--empty-archs", "\x00",
    ],
    seconds=5.0,
    one_in=20,
)  # fmt: skip


def _set(text: str) -> None:
    chain = running.plan("digits-darts", text.split(";"))
    for step in chain.steps:
        chain.words(step, Path("out"))
        assert step.place(Path("out")).resolve().is_relative_to(Path("out").resolve())


text_target(
    "set",
    _set,
    ["train.epochs=5", "search darts.epochs=5;train.batch-size=2", "train.x", "x.y=z", "train.out=../../x"],
    ["train.", ".", "=", ";", "true", "{search}", "{search darts}", "{x}", "out=", "\n", *_HUGE, *ATTEMPTS],
)


def _journal(path: Path) -> None:
    first = _CHAIN.steps[0]
    with RunFolder(path.parent, _CHAIN) as folder:
        for step in _CHAIN.steps:
            folder.is_done(step)
            assert folder.seconds(step) is None or isinstance(folder.seconds(step), float)
        folder.begin(first)
        folder.end(first, 1.0, done=True)
        assert folder.is_done(first) in (True, False)


_CHAIN = running.plan("digits-darts")
_DONE = [
    {"journal": "run", "version": 1, "plan": {}},
    *({"step": s.name, "key": _CHAIN.key(s), "done": True, "seconds": 1.5, "result": "x"} for s in _CHAIN.steps),
]  # fmt: skip


def _lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(map(_encode, records))


def _odd_journal(rng: random.Random) -> bytes:
    """A journal whose checksums are right and whose records are not."""
    with suppress(ValueError):  # what JSON cannot say
        return _lines([_DONE[0], *(with_other_values(one, rng) for one in _DONE[1:])])
    return _lines(_DONE)


file_target(
    "run-journal",
    "run.journal",
    _journal,
    lambda: [_lines(_DONE), _lines(_DONE[:1]), b""],
    [b'"seconds": ', b'"done": ', b'"version": ', b'"key": ', b"null", b"[]", b"{}", b'"x"', b"1e999", b"[" * 3000],
    generate=_odd_journal,
)
