"""What Flink calls: thin shells around the memories of instances, groups and pools."""

import json
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor, ValueState, ValueStateDescriptor
from pyflink.table import DataTypes
from pyflink.table.types import DataType

from connectors.ec2.events import GroupActivity
from connectors.spot_action_messages import encode
from jobs.settings import Settings
from jobs.settings.durations import DAY_MS
from jobs.spot.evidence import EvidenceKind, PoolEvidence
from jobs.spot.groups import GroupMemory, GroupRuns, follow_group, forget_group_at_ms
from jobs.spot.instances import InstanceMemory, follow, forget_instance_at_ms
from jobs.spot.market import wake_at_ms
from jobs.spot.outcomes import OutcomeKind
from jobs.spot.pools import (
    REMEMBER_TOLD_MS,
    PoolChange,
    PoolMemory,
    forget_pool_at_ms,
    let_time_pass,
    weigh,
)
from jobs.spot.routing import SubjectKind, pool_of_subject, pool_subject, read_told, subject_kind

ROUTED_COLUMNS: Final[dict[str, DataType]] = {
    "subject": DataTypes.STRING(),
    "kind": DataTypes.STRING(),
    "at_ms": DataTypes.BIGINT(),
    "value": DataTypes.STRING(),
    "low_water_ms": DataTypes.BIGINT(),
    "report": DataTypes.STRING(),
}
"""The columns of a routed stream: those of `Routed`, a promise about time, and an outcome that concerns no subject."""

ROUTED_TYPE: Final = Types.ROW_NAMED(
    list(ROUTED_COLUMNS),
    [Types.STRING(), Types.STRING(), Types.LONG(), Types.STRING(), Types.LONG(), Types.STRING()],
)

OUTCOME_TYPE: Final = Types.ROW_NAMED(["kind", "line"], [Types.STRING(), Types.STRING()])

EVIDENCE_TYPE: Final = Types.ROW_NAMED(["subject", "value"], [Types.STRING(), Types.STRING()])
EVIDENCE: Final = OutputTag("evidence", EVIDENCE_TYPE)
"""The side output of `Listen`: evidence for the market of each pool."""


_EVIDENCE: Final = msgspec.json.Decoder(list[PoolEvidence])

_Memory = TypeVar("_Memory", InstanceMemory, GroupMemory, PoolMemory)


class Listen(KeyedProcessFunction):
    """Actions about instances, and on the side the evidence about pools, from what each subject is told."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.spot.signals

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before it hears anything."""
        self._memory: ValueState = runtime_context.get_state(ValueStateDescriptor("memory", Types.STRING()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        """What follows from one thing told: an action at once, evidence, mostly neither."""
        subject, kind, text = value
        told = read_told(kind, text)
        if isinstance(told, PoolEvidence):
            yield _evidence_row(told)
        elif isinstance(told, GroupRuns) or (
            isinstance(told, GroupActivity) and subject_kind(subject) is SubjectKind.GROUP
        ):
            group, evidence = follow_group(_read(self._memory, GroupMemory), told)
            self._remember(group, forget_group_at_ms(group), ctx)
            yield from map(_evidence_row, evidence)
        else:
            instance, followed = follow(_read(self._memory, InstanceMemory), told, self._settings)
            self._remember(instance, forget_instance_at_ms(instance, self._settings), ctx)
            if followed.action is not None:
                yield Row(OutcomeKind.ACTION.value, encode(followed.action).decode())
            yield from map(_evidence_row, followed.evidence)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        """Forget a subject that nobody has spoken of for long; nothing is told of it."""
        if self._memory.value() is not None:
            if subject_kind(ctx.get_current_key()) is SubjectKind.GROUP:
                forget_ms = forget_group_at_ms(_read(self._memory, GroupMemory))
            else:
                forget_ms = forget_instance_at_ms(_read(self._memory, InstanceMemory), self._settings)
            if forget_ms <= timestamp:
                self._memory.clear()
        return iter(())

    def _remember(self, memory: object, forget_ms: int, ctx: KeyedProcessFunction.Context) -> None:
        self._memory.update(msgspec.json.encode(memory).decode())
        # A scan speaks of an instance every few minutes, and each time would leave a timer of its own.
        ctx.timer_service().register_event_time_timer(_day_of(forget_ms))


class Weigh(KeyedProcessFunction):
    """Changes of each pool's market and the actions that follow, from evidence in the order of event time.

    Evidence waits until the watermark has passed it, so its order is that of the times and not of arrival. What comes
    behind the watermark counts at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.spot.market

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first evidence."""
        self._memory: ValueState = runtime_context.get_state(ValueStateDescriptor("memory", Types.STRING()))
        waiting = MapStateDescriptor("waiting", Types.LONG(), Types.STRING())
        self._waiting: MapState = runtime_context.get_map_state(waiting)
        self._told: MapState = runtime_context.get_map_state(MapStateDescriptor("told", Types.STRING(), Types.LONG()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Nothing yet, as a rule: the evidence waits for its time."""
        told = msgspec.json.decode(value[1], type=PoolEvidence)
        if told.at_ms <= ctx.timer_service().current_watermark():
            yield from self._take_up([told], ctx)
            return
        waiting = self._waiting.get(told.at_ms)
        together = [] if waiting is None else _EVIDENCE.decode(waiting)
        self._waiting.put(told.at_ms, msgspec.json.encode([*together, told]).decode())
        ctx.timer_service().register_event_time_timer(told.at_ms)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """The changes that the evidence of this time brings, or that the time itself does."""
        waiting = self._waiting.get(timestamp)
        if waiting is not None:
            self._waiting.remove(timestamp)
            yield from self._take_up(sorted(_EVIDENCE.decode(waiting), key=lambda told: told.order), ctx)
        if self._memory.value() is not None:
            pool = pool_of_subject(ctx.get_current_key())
            memory, changes = let_time_pass(pool, _read(self._memory, PoolMemory), timestamp, self._settings)
            yield from _change_rows(changes)
            self._remember(memory, ctx)
            self._forget(memory, timestamp)

    def _take_up(self, evidence: list[PoolEvidence], ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        memory = _read(self._memory, PoolMemory)
        for told in evidence:
            if not self._is_known(told, ctx):
                memory, changes = weigh(told.pool, memory, told, self._settings)
                yield from _change_rows(changes)
        self._remember(memory, ctx)

    def _is_known(self, told: PoolEvidence, ctx: KeyedProcessFunction.Context) -> bool:
        """Whether this was told before; of what an instance is told, the signals see to that."""
        if told.kind in (EvidenceKind.INTERRUPTION, EvidenceKind.REBALANCE):
            return False
        source = f"{told.kind}|{told.source_id}"
        if self._told.contains(source):
            return True
        self._told.put(source, told.told_at_ms)
        ctx.timer_service().register_event_time_timer(_day_of(told.told_at_ms + REMEMBER_TOLD_MS))
        return False

    def _remember(self, memory: PoolMemory, ctx: KeyedProcessFunction.Context) -> None:
        self._memory.update(msgspec.json.encode(memory).decode())
        wake_ms = wake_at_ms(memory.state, self._settings)
        if wake_ms is not None:
            ctx.timer_service().register_event_time_timer(wake_ms)
        forget_ms = forget_pool_at_ms(memory, self._settings)
        if forget_ms is not None:
            ctx.timer_service().register_event_time_timer(_day_of(forget_ms))

    def _forget(self, memory: PoolMemory, now_ms: int) -> None:
        for source, told_at_ms in list(self._told.items()):
            if told_at_ms + REMEMBER_TOLD_MS <= now_ms:
                self._told.remove(source)
        forget_ms = forget_pool_at_ms(memory, self._settings)
        if forget_ms is not None and forget_ms <= now_ms:
            self._memory.clear()


def _evidence_row(told: PoolEvidence) -> tuple[OutputTag, Row]:
    return EVIDENCE, Row(pool_subject(told.pool), msgspec.json.encode(told).decode())


def _change_rows(changes: tuple[PoolChange, ...]) -> Iterator[Row]:
    for told in changes:
        yield Row(OutcomeKind.POOL.value, json.dumps(told.line(), ensure_ascii=False))
        if told.change.action is not None:
            yield Row(OutcomeKind.ACTION.value, encode(told.change.action).decode())


def _read(state: ValueState, kind: type[_Memory]) -> _Memory:
    text = state.value()
    return kind() if text is None else msgspec.json.decode(text, type=kind)


def _day_of(at_ms: int) -> int:
    """The end of the day that the time is in: one timer for many memories of a key that are due about then."""
    return -(-at_ms // DAY_MS) * DAY_MS
