"""What Flink calls: thin shells around the lane and the policy."""

import json
from collections.abc import Iterator, Sequence
from typing import Final

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, TimerService
from pyflink.datastream.state import ValueState, ValueStateDescriptor

from connectors.actions import encode
from connectors.dynamodb.fast_path import FastPath
from connectors.recordings.segments import Segment
from jobs.capacity.lane import Lane, LaneRow, LaneSettings, WindowRow
from jobs.capacity.limits import Limit
from jobs.capacity.outcomes import OutcomeKind, window_line
from jobs.capacity.policy import Decision, LeaseState, WindowTotal, decide, forget_at_ms
from jobs.capacity.rules import InForce, Timeline
from jobs.recorded.tables import table_schemas
from jobs.settings import Settings, WeighImages, WindowSettings
from jobs.text_as_bytes import text_of

TEXTS_OF_TOTALS: Final = ("table_name", "partition_key")
"""The columns of window totals that reach Python as bytes, see `jobs.text_as_bytes`."""

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


def window_total(row: Row) -> WindowTotal:
    """The total that a row of the windows' query says."""
    table, partition_key, *rest = row
    return WindowTotal(text_of(table), text_of(partition_key), *rest)


def key_of_total(row: Row) -> tuple[str, str, str]:
    """The partition key that a row of the windows' query is about."""
    table, partition_key, partition_key_type, *_ = row
    return text_of(table), text_of(partition_key), partition_key_type


def rows_of_steps(segments: Sequence[Segment], settings: Settings) -> Iterator[LaneRow]:
    """The rows of a lane of a recording, told step by step."""
    return Lane(segments, fast_path(settings), lane_settings(settings)).rows()


def rows_of_windows(segments: Sequence[Segment], settings: Settings) -> Iterator[WindowRow]:
    """The rows of a lane of a recording, told window by window."""
    return Lane(segments, fast_path(settings), lane_settings(settings)).window_rows(settings.window.size_ms)


class Leases:
    """The lease of the partition key that is at hand, in keyed state, and what is decided about it.

    Args:
        runtime_context: The operator's.
        window: The settings of the windows whose totals come.
    """

    def __init__(self, runtime_context: RuntimeContext, window: WindowSettings) -> None:
        self._window = window
        self._lease: ValueState = runtime_context.get_state(ValueStateDescriptor("lease", _LEASE_TYPE))

    def decide(self, total: WindowTotal, in_force: InForce, timers: TimerService) -> Iterator[Row]:
        """The outcomes of one total, under the rules that are in force at its step end."""
        limit = in_force.limit_for(total.table, total.partition_key)
        remembered = self._lease.value()
        before = LeaseState.calm() if remembered is None else LeaseState(*remembered)
        after, decision = decide(before, total, limit, in_force.lease, self._window)
        if after != before:
            self._lease.update((after.level_index, after.lease_end_ms, after.last_over_ms, after.decision_seq))
            timers.register_event_time_timer(forget_at_ms(after, in_force.lease))
        yield from _outcomes(total, limit, decision, in_force)

    def forget(self, at_ms: int, in_force: InForce, timers: TimerService) -> None:
        """Forget a key that has been calm for long, or look again when it will have been; nothing is told of it."""
        remembered = self._lease.value()
        if remembered is None:
            return
        forget_ms = forget_at_ms(LeaseState(*remembered), in_force.lease)
        if forget_ms <= at_ms:
            self._lease.clear()
        elif in_force.version is not None:
            timers.register_event_time_timer(forget_ms)  # the decay may be longer than when the timer was set


class Decide(KeyedProcessFunction):
    """Outcomes of window totals: a line for each that is near its limit, and what is decided about it."""

    def __init__(self, settings: Settings, timeline: Timeline) -> None:
        self._settings = settings
        self._timeline = timeline

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first total."""
        self._leases = Leases(runtime_context, self._settings.window)

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """The outcomes of one total."""
        total = window_total(value)
        return self._leases.decide(total, self._timeline.at(total.step_end_ms), ctx.timer_service())

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Nothing; a key may be forgotten."""
        self._leases.forget(timestamp, self._timeline.at(timestamp), ctx.timer_service())
        return iter(())


def _outcomes(total: WindowTotal, limit: Limit, decision: Decision, in_force: InForce) -> Iterator[Row]:
    if decision.level is not None:
        line = window_line(total, limit, decision.level, in_force.version)
        yield Row(OutcomeKind.WINDOW.value, json.dumps(line, ensure_ascii=False))
    if decision.action is not None and decision.kind is not None:
        # Where shadow cannot change, whoever sends knows it from the settings.
        shadow = "shadow_" if in_force.version is not None and in_force.shadow else ""
        yield Row(OutcomeKind(f"{shadow}{decision.kind.value}").value, encode(decision.action).decode())
