"""The faults of `make faults`, fewer at a time: nothing is lost, doubled, wrong or stuck after any of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.ledger import LedgerLoop
from tests.faults.loop import Fault, Row
from tests.faults.messages import between_queue_and_cache
from tests.faults.report import page
from tests.faults.scenarios import the_quicker_half, workers_and_task_manager
from tests.usage_oracle import Group, Sums

pytestmark = pytest.mark.flink


@pytest.mark.parametrize("scenario", [the_quicker_half, workers_and_task_manager, between_queue_and_cache])
def test_no_fault_leaves_a_trace(scenario: Callable[[Path], list[Row]], tmp_path: Path) -> None:
    rows = scenario(tmp_path)
    assert [row for row in rows if not row.is_clean] == []
    assert all(row.actions for row in rows)
    assert all(row.recovery_s is not None for row in rows)


def test_a_row_that_is_not_clean_is_named_on_the_page() -> None:
    clean, lost = Row("calm", 3, 0, 0, 0, 0, 1.0), Row("storm", 3, 1, 0, 0, 0, None)
    assert "Nothing was lost" in page([clean], "a day", "a machine")
    assert "Not clean: storm." in page([clean, lost], "a day", "a machine")
    assert "| storm | 3 | 1 | 0 | 0 | 0 | - |" in page([clean, lost], "a day", "a machine")


def test_a_ledger_that_differs_is_told_at_the_fault_after_which_it_does(tmp_path: Path) -> None:
    calm, storm = 60_000, 120_000
    loop = LedgerLoop(tmp_path, in_s3=False, faults=[Fault("calm", calm + 7), Fault("storm", storm + 7)])
    loop.recovered_s = [1.0, 2.0]

    def rows(*keys: str, at_ms: int, wcu: int = 5) -> dict[Group, Sums]:
        return {("t", key, "S", at_ms, "INSERT", None): (wcu, 1, 100) for key in keys}

    expected = rows("a", "b", at_ms=calm) | rows("a", "b", "c", at_ms=storm)
    less, more, wrong = rows("a", at_ms=storm, wcu=4), rows("b", at_ms=storm, wcu=6), rows("d", at_ms=storm)
    found = rows("a", "b", at_ms=calm) | less | more | wrong
    assert list(loop.rows(expected, expected)) == [Row("calm", 2, 0, 0, 0, 0, 1.0), Row("storm", 3, 0, 0, 0, 0, 2.0)]
    assert list(loop.rows(expected, found)) == [Row("calm", 2, 0, 0, 0, 0, 1.0), Row("storm", 3, 2, 1, 1, 0, 2.0)]
