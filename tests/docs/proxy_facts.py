"""What the page on proxies says of each proxy, from the register.

``python -m tests.docs.proxy_facts`` writes it into the page; a test compares.
"""

from __future__ import annotations

import re

from prejudge.proxies import get
from prejudge.proxies.registry import Proxy
from tests.docs.pages import DOCS

PAGE = DOCS / "proxies.md"
MARKED = re.compile(r"(<!-- facts: (\w+) -->\n).*?(?=\n##|\Z)", re.DOTALL)
"""A remark, and what follows it up to the next heading."""


def facts(proxy: Proxy) -> str:
    """A proxy's declaration, as Markdown."""
    columns = {
        "better": "higher" if proxy.higher_is_better else "lower",
        "needs labels": "yes" if proxy.needs_labels else "no",
        "draws of its own": "no" if proxy.deterministic else "yes",
        "shared within a class": "yes" if proxy.invariant_to_dead_edges else "no",
        "fewest images": str(proxy.min_batch),
        "version": str(proxy.version),
    }
    rows = (columns, ["---"] * len(columns), columns.values())
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    reads = ", ".join(f"`{name}`" for name in proxy.reads)
    options = ", ".join(f"`{name}={value!r}`" for name, value in proxy.options.items())
    return (
        f"{table}\nReads {reads}. " + (f"Options: {options}. " if options else "") + f"Reference: {proxy.reference}.\n"
    )


def with_facts(page: str) -> str:
    """The page with what the register says after each remark."""
    return MARKED.sub(lambda found: f"{found[1]}\n{facts(get(found[2]))}", page)


if __name__ == "__main__":
    PAGE.write_text(with_facts(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
