"""The faults of `make faults`, fewer at a time: nothing is lost, doubled, wrong or stuck after any of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.loop import Row
from tests.faults.messages import between_queue_and_cache
from tests.faults.report import page
from tests.faults.scenarios import the_quicker_half, workers_and_task_manager

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
