"""Rules that come while the job runs: from a file that is watched, or from a stream, into broadcast state. I/O.

A file of rules is parsed where it comes in. One with a mistake in it is logged, counted, and changes nothing; what is
in force stays so. A version that is known already is passed over, so a file may come any number of times.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic, time_ns
from typing import Any, Final

from pyflink.common import Duration, Row, Types, WatermarkStrategy
from pyflink.datastream import DataStream, KeyedBroadcastProcessFunction, ProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor
from pyflink.table import DataTypes, Schema, TableDescriptor
from pyflink.table.expressions import col

from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.records import Gap, ReadBatch, ShardBatch
from connectors.kinesis.source import kinesis_table
from connectors.published_metrics import PUBLISHED
from jobs.capacity.kept_rules import KeptVersions, kept
from jobs.capacity.operators import Leases, window_total
from jobs.capacity.outcomes import OutcomeKind, applied_rules, refused_rules
from jobs.capacity.rules import RulesError, Timeline, parse_rules
from jobs.runtime import Environment
from jobs.settings import Settings

VERSIONS_STATE: Final = MapStateDescriptor("rules", Types.STRING(), Types.STRING())
"""By the number of a version: see `jobs.capacity.kept_rules.kept`."""

_RULES_COLUMNS: Final = {"rules": DataTypes.STRING()}

logger = logging.getLogger(__name__)


def arriving_rules(environment: Environment, settings: Settings, config: KinesisConfig) -> DataStream | None:
    """Files of rules as they come, None where the settings name no source of them.

    Args:
        environment: Where to build.
        settings: All settings.
        config: How the stream of rules is read, where it is a stream.
    """
    tables = environment.tables
    if settings.rules.stream is not None:
        rows = kinesis_table(
            environment.streams, tables, config, RulesRecords(), _RULES_COLUMNS, uid="rules", subtasks=1
        )
        texts = tables.to_data_stream(rows.filter(col("rules").is_not_null))
        texts = texts.map(lambda row: row[0], output_type=Types.STRING())
    elif settings.rules.file is not None:
        ticks = TableDescriptor.for_connector("datagen").schema(Schema.new_builder().column("tick", "INT").build())
        tick = ticks.option("rows-per-second", "1").option("scan.parallelism", "1").build()
        watch = WatchFile(Path(settings.rules.file).resolve(), settings.rules.check_ms)
        texts = tables.to_data_stream(tables.from_descriptor(tick)).process(watch, output_type=Types.STRING())
        texts = texts.name("watch rules").uid("watch_rules").set_parallelism(1)
    else:
        return None
    # Rules come seldom, and have no event time: an idle input does not hold up the timers of the other.
    idle = WatermarkStrategy.for_monotonous_timestamps().with_idleness(Duration.of_millis(1))
    return texts.assign_timestamps_and_watermarks(idle)


class WatchFile(ProcessFunction):
    """The content of a file at first, and each time that it has changed."""

    def __init__(self, path: Path, check_ms: int) -> None:
        self._path = path
        self._check_s = check_ms / 1000

    def open(self, runtime_context: RuntimeContext) -> None:
        """Nothing has been looked at yet."""
        self._looked_s = float("-inf")
        self._seen: bytes | None = None
        self._problem: str | None = None

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[str]:
        """The content, if it is time to look and it is new."""
        if monotonic() - self._looked_s < self._check_s:
            return
        self._looked_s = monotonic()
        try:
            content = self._path.read_bytes()
        except OSError as error:
            if self._problem != str(error):  # once, and not at each look
                logger.error("rules: %s", error)
            self._problem = str(error)
            return
        self._problem = None
        if content != self._seen:
            self._seen = content
            yield content.decode(errors="replace")


class RulesRecords:
    """The records of a stream, each a file of rules."""

    def open(self) -> None:
        """Nothing to prepare."""

    def read(self, batch: ShardBatch) -> ReadBatch:
        """A row for each."""
        rows = [(record.data.decode(errors="replace"),) for record in batch.records]
        return ReadBatch(rows, max(batch.progress_ms, *(record.arrival_time_ms for record in batch.records)))

    def mark(self, low_water_ms: int) -> tuple[Any, ...]:
        """A row that says nothing."""
        return (None,)

    def missed(self, gap: Gap, low_water_ms: int) -> Iterable[tuple[Any, ...]]:
        """Nothing: a version that was missed comes again with the next file."""
        return ()


class DecideByArrivingRules(KeyedBroadcastProcessFunction):
    """What `Decide` does, under rules that come while it runs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first total."""
        self._leases = Leases(runtime_context, self._settings.window)
        metrics = runtime_context.get_metrics_group().add_group(PUBLISHED)
        self._applied = metrics.counter("rules_applied")
        self._refused = metrics.counter("rules_refused")
        self._timeline: Timeline | None = None
        self._versions = KeptVersions(self._settings)
        self._untold: list[dict[str, str | int]] = []

    def process_element(self, value: Row, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> Iterator[Row]:
        """The outcomes of one total."""
        total = window_total(value)
        timeline = self._timeline or self._restored(ctx.get_broadcast_state(VERSIONS_STATE))
        yield from self._tell()
        yield from self._leases.decide(total, timeline.at(total.step_end_ms), ctx.timer_service())

    def process_broadcast_element(self, value: str, ctx: KeyedBroadcastProcessFunction.Context) -> Iterator[Row]:
        """What became of a file; the versions in it that are new are in force from their times on."""
        state = ctx.get_broadcast_state(VERSIONS_STATE)
        self._restored(state)
        newest = self._versions.newest
        try:
            versions = parse_rules(value, self._settings, "rules")
        except RulesError as error:
            logger.error("refused; version %s stays in force: %s", newest, error)
            self._refuse(str(error))
            return self._tell()
        arrived_ms = _now_ms()
        for version in versions:
            if version.number > newest:
                state.put(str(version.number), kept(arrived_ms, value))
                self._applied.inc()
                self._untold.append(applied_rules(version.number, arrived_ms))
                logger.warning("rules: version %s has come", version.number)
        self._restored(state)
        return self._tell()

    def on_timer(self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Nothing; a key may be forgotten."""
        timeline = self._timeline or self._restored(ctx.get_broadcast_state(VERSIONS_STATE))
        self._leases.forget(timestamp, timeline.at(timestamp), ctx.timer_service())
        return iter(())

    def _restored(self, state: Any) -> Timeline:
        """The timeline of all versions in the state, also after a restart."""
        for problem in self._versions.read(state.items()):
            self._refuse(problem)
            logger.error("kept, but no longer allowed by the settings, and not in force: %s", problem)
        self._timeline = self._versions.timeline()
        return self._timeline

    def _refuse(self, reason: str) -> None:
        self._refused.inc()
        self._untold.append(refused_rules(reason, _now_ms()))

    def _tell(self) -> Iterator[Row]:
        """What was not told yet of rules that came, or were met in the state."""
        untold, self._untold = self._untold, []
        return iter([Row(OutcomeKind.RULES.value, json.dumps(line, ensure_ascii=False)) for line in untold])


def _now_ms() -> int:
    return time_ns() // 1_000_000
