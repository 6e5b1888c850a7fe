"""The ledger after failures: the usage job is thrown back to its last checkpoint, several times, and loses nothing."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyflink.common import Configuration
from pyflink.table import Schema, TableDescriptor, TableFunction
from pyflink.table.expressions import call, col, concat
from pyflink.table.udf import udtf

from connectors.recordings.files import find_recordings
from jobs.execution import ExecutionMode
from jobs.recorded.lanes import plan_lanes
from jobs.runtime import collect_lines, local_environment
from jobs.settings import Settings
from jobs.usage.job import build
from jobs.usage.operators import USAGE_COLUMNS, open_lane
from tests import usage_oracle
from tests.flink.streams import settings, stream, write

pytestmark = pytest.mark.flink

DIES_AT = (90, 150, 230)
TURNS = 300
TURNS_PER_S = 60


class RowsOfTurn(TableFunction):
    """The rows of a reader, some for each number, whose source keeps in state how far it is; fails at some numbers."""

    def __init__(self, rows: Path, marks: Path) -> None:
        self._rows = rows
        self._marks = marks

    def eval(self, turn: int) -> Iterator[Any]:
        mark = self._marks / str(turn)
        if turn in DIES_AT and not mark.exists():
            mark.touch()
            message = f"killed at {turn}"
            raise RuntimeError(message)
        with (self._marks / "read").open("a") as read:
            read.write(f"{turn}\n")
        rows = pickle.loads(self._rows.read_bytes())  # noqa: S301 - written by this test
        yield from rows[turn * len(rows) // TURNS : (turn + 1) * len(rows) // TURNS]


def test_after_every_failure_the_ledger_is_what_the_oracle_says(tmp_path: Path) -> None:
    records = stream()
    path = write(tmp_path / "a.jsonl", records)
    location = tmp_path / "ledger"
    given: Settings = settings(f'[usage]\nfile_span = "1m"\nledger = "{location}"\n')
    [lane] = plan_lanes(find_recordings([path]), 1)
    rows = [tuple(row) for row in open_lane(lane, given)]
    (tmp_path / "rows").write_bytes(pickle.dumps(rows))
    environment = local_environment(parallelism=1, execution_mode=ExecutionMode.THREAD)
    configuration = Configuration()
    for name, value in {
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": str(len(DIES_AT)),
        "restart-strategy.fixed-delay.delay": "10 ms",
        "execution.checkpointing.interval": "150 ms",
        "execution.checkpointing.dir": (tmp_path / "checkpoints").as_uri(),
    }.items():
        configuration.set_string(name, value)
    environment.streams.configure(configuration)
    turns = TableDescriptor.for_connector("datagen").schema(Schema.new_builder().column("turn", "BIGINT").build())
    for option, value in {
        "fields.turn.kind": "sequence",
        "fields.turn.start": "0",
        "fields.turn.end": str(TURNS - 1),
        "rows-per-second": str(TURNS_PER_S),
    }.items():
        turns = turns.option(option, value)
    tables = environment.tables
    tables.create_temporary_table("turns_of_a_reader", turns.build())
    (tmp_path / "marks").mkdir()
    reader = udtf(RowsOfTurn(tmp_path / "rows", tmp_path / "marks"), result_types=list(USAGE_COLUMNS.values()))
    tables.create_temporary_function("rows_of_turn", reader)
    source = tables.from_path("turns_of_a_reader").join_lateral(call("rows_of_turn", col("turn")).alias(*USAGE_COLUMNS))
    outcomes = build(environment, source.select(*map(col, USAGE_COLUMNS)), given)
    for _ in collect_lines(environment, outcomes.select(concat(col("kind"), " ", col("line"))), "usage with failures"):
        pass
    read = [int(turn) for turn in (tmp_path / "marks" / "read").read_text().split()]
    assert all((tmp_path / "marks" / str(turn)).exists() for turn in DIES_AT)
    # It went on from checkpoints, not from the beginning, and some turns came again.
    assert read.count(0) == 1
    assert len(read) > TURNS
    assert usage_oracle.read_ledger(location) == usage_oracle.judge({str(path): records}, given).rows
