"""What an application on Managed Flink is refused for before it starts."""

import pytest

from jobs.managed import beyond_parallelism
from jobs.settings import KinesisSettings, Settings


@pytest.mark.parametrize(("subtasks", "problems"), [(3, 0), (4, 0), (5, 1)])
def test_more_readers_than_slots_are_refused_by_name(subtasks: int, problems: int) -> None:
    found = beyond_parallelism(Settings(kinesis=KinesisSettings(subtasks=subtasks)), 4)
    assert len(found) == problems
    assert all(each.startswith("kinesis.subtasks: ") for each in found)
