"""What Flink calls: thin shells around the lane and the policy."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueState, ValueStateDescriptor
from pyflink.table import DataTypes, TableFunction
from pyflink.table.types import DataType

from connectors.actions import encode
from connectors.dynamodb.change import TableSchema
from connectors.dynamodb.fast_path import FastPath
from connectors.recordings.segments import Segment
from jobs.capacity.lane import Lane, LaneRow, LaneSettings
from jobs.capacity.limits import Limit, Limits
from jobs.capacity.outcomes import OutcomeKind, window_line
from jobs.capacity.policy import Decision, LeaseState, WindowTotal, decide, forget_at_ms
from jobs.settings import Settings, WeighImages

DECODED_COLUMNS: Final[dict[str, DataType]] = {
    "table_name": DataTypes.STRING(),
    "partition_key": DataTypes.STRING(),
    "partition_key_type": DataTypes.STRING(),
    "at_ms": DataTypes.BIGINT(),
    "wcu": DataTypes.BIGINT(),
    "writes": DataTypes.BIGINT(),
    "low_water_ms": DataTypes.BIGINT(),
    "report": DataTypes.STRING(),
}
"""The columns of a decoded stream: those of `LaneRow`."""

CHUNKS_A_TURN: Final = 2
"""How much of a lane is read in one call, about 2 MiB: in process mode its rows leave when a bundle of calls ends."""

OUTCOME_TYPE: Final = Types.ROW_NAMED(["kind", "line"], [Types.STRING(), Types.STRING()])

# Level, lease end, last time over, decision number: a tuple, so that the state outlives changes of the class.
_LEASE_TYPE: Final = Types.TUPLE([Types.INT(), Types.LONG(), Types.LONG(), Types.LONG()])


def table_schemas(settings: Settings) -> dict[str, TableSchema]:
    """What the settings say of each table, as the decoder wants it."""
    return {name: TableSchema(table.partition_key, table.transactional) for name, table in settings.tables.items()}


def fast_path(settings: Settings) -> FastPath:
    """The decoder that the settings ask for."""
    return FastPath(table_schemas(settings), weigh_always=settings.decode.weigh_images is WeighImages.ALWAYS)


def lane_settings(settings: Settings) -> LaneSettings:
    """What summing up has to know of the settings."""
    window = settings.window
    return LaneSettings(window.step_ms, window.out_of_orderness_ms, settings.decode.future_tolerance_ms)


class ReadLane(TableFunction):
    """Rows of a decoded stream from one of the lanes of a recording, a few chunks a turn.

    The turns of a lane are numbered from the lane's own number on, in steps of the number of lanes.
    """

    def __init__(self, lanes: Sequence[Sequence[Segment]], last_turn: int, settings: Settings) -> None:
        self._lanes = lanes
        self._last_turn = last_turn
        self._settings = settings
        self._number: int | None = None
        self._rows: Iterator[LaneRow] = iter(())

    def eval(self, turn: int) -> Iterator[tuple[Any, ...]]:
        """The rows of the next few chunks, in the last round of all that is left.

        Raises:
            RuntimeError: The subtask has read another lane; rows of this one would come behind a watermark, and be
                lost unseen.
        """
        number = turn % len(self._lanes)
        if self._number is None:
            self._number, self._rows = number, self._lane(number).rows()
        if self._number != number:
            message = "two lanes came to one subtask"
            raise RuntimeError(message)
        chunks = 0
        for row in self._rows:
            yield row
            chunks += row.report is not None
            if chunks == CHUNKS_A_TURN and turn + len(self._lanes) <= self._last_turn:
                return

    def _lane(self, number: int) -> Lane:
        return Lane(self._lanes[number], fast_path(self._settings), lane_settings(self._settings))


class Decide(KeyedProcessFunction):
    """Outcomes of window totals: a line for each that is near its limit, and what is decided about it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first total."""
        self._limits = Limits(self._settings.limits)
        self._lease: ValueState = runtime_context.get_state(ValueStateDescriptor("lease", _LEASE_TYPE))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """The outcomes of one total."""
        total = WindowTotal(*value)
        limit = self._limits.limit_for(total.table, total.partition_key)
        remembered = self._lease.value()
        before = LeaseState.calm() if remembered is None else LeaseState(*remembered)
        after, decision = decide(before, total, limit, self._settings.lease, self._settings.window)
        if after != before:
            self._lease.update((after.level_index, after.lease_end_ms, after.last_over_ms, after.decision_seq))
            ctx.timer_service().register_event_time_timer(forget_at_ms(after, self._settings.lease))
        yield from _outcomes(total, limit, decision)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Forget a key that has been calm for long; nothing is told of it."""
        remembered = self._lease.value()
        if remembered is not None and forget_at_ms(LeaseState(*remembered), self._settings.lease) <= timestamp:
            self._lease.clear()
        return iter(())


def _outcomes(total: WindowTotal, limit: Limit, decision: Decision) -> Iterator[Row]:
    if decision.level is not None:
        yield Row(
            OutcomeKind.WINDOW.value,
            json.dumps(window_line(total, limit, decision.level), ensure_ascii=False),
        )
    if decision.action is not None and decision.kind is not None:
        yield Row(OutcomeKind(decision.kind.value).value, encode(decision.action).decode())
