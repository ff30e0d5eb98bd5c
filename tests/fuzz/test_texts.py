"""Every parser and reader of text, against texts that are nearly right."""

from __future__ import annotations

import pytest

from tests.fuzz import harness, text_cli, text_logs, text_spaces, text_tables
from tests.fuzz.harness import TARGETS, fuzz, report, targets_of


@pytest.mark.timeout(300 + harness.INPUTS)
@pytest.mark.parametrize("name", targets_of(text_cli, text_logs, text_spaces, text_tables))
def test_a_reader_of_text_reads_or_refuses(name: str) -> None:
    outcome = fuzz(TARGETS[name])
    assert not outcome.findings, report(outcome)
