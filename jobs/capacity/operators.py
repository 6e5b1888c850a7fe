"""What Flink calls: thin shells around the lane and the policy."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueState, ValueStateDescriptor

from connectors.actions import encode
from connectors.dynamodb.fast_path import FastPath
from connectors.recordings.segments import Segment
from jobs.capacity.lane import Lane, LaneRow, LaneSettings, WindowRow
from jobs.capacity.limits import Limit, Limits
from jobs.capacity.outcomes import OutcomeKind, window_line
from jobs.capacity.policy import Decision, LeaseState, WindowTotal, decide, forget_at_ms
from jobs.recorded.tables import table_schemas
from jobs.settings import Settings, WeighImages

OUTCOME_TYPE: Final = Types.ROW_NAMED(["kind", "line"], [Types.STRING(), Types.STRING()])

# Level, lease end, last time over, decision number: a tuple, so that the state outlives changes of the class.
_LEASE_TYPE: Final = Types.TUPLE([Types.INT(), Types.LONG(), Types.LONG(), Types.LONG()])


def fast_path(settings: Settings) -> FastPath:
    """The decoder that the settings ask for."""
    return FastPath(table_schemas(settings), weigh_always=settings.decode.weigh_images is WeighImages.ALWAYS)


def lane_settings(settings: Settings) -> LaneSettings:
    """What summing up has to know of the settings."""
    window = settings.window
    return LaneSettings(window.step_ms, window.out_of_orderness_ms, settings.decode.future_tolerance_ms)


def rows_of_steps(segments: Sequence[Segment], settings: Settings) -> Iterator[LaneRow]:
    """The rows of a lane of a recording, told step by step."""
    return Lane(segments, fast_path(settings), lane_settings(settings)).rows()


def rows_of_windows(segments: Sequence[Segment], settings: Settings) -> Iterator[WindowRow]:
    """The rows of a lane of a recording, told window by window."""
    return Lane(segments, fast_path(settings), lane_settings(settings)).window_rows(settings.window.size_ms)


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
