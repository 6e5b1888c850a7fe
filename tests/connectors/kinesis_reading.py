"""A subtask that reads the test server as Flink would have it: slots in turn, state kept, killed and begun anew."""

from collections import Counter
from collections.abc import Callable, Collection
from time import monotonic, sleep, time_ns
from typing import Any

from connectors.kinesis.client import KinesisClient
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.records import ReadRecords, Row
from connectors.kinesis.shards import SLOTS
from connectors.kinesis.state import read_state, write_state
from connectors.kinesis.subtask import POLLS_AT_A_TIME, Subtask
from tests.kinesis_streams import ReadEvents

PATIENCE_S = 20


class Counted:
    """What a source counts."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.lags: dict[str, Callable[[], int]] = {}

    def count(self, name: str, number: int = 1) -> None:
        self.numbers[name] += number

    def watch(self, shard_id: str, lag_ms: Callable[[], int]) -> None:
        self.lags[shard_id] = lag_ms


class Reading:
    """One of several subtasks that read a stream, from states of slots if there are any."""

    def __init__(
        self,
        config: KinesisConfig,
        states: dict[int, str] | None = None,
        slots: Collection[int] = range(SLOTS),
        read_records: ReadRecords | None = None,
        **more: Any,
    ) -> None:
        self.counted = Counted()
        self.rows: list[Row] = []
        self.states: dict[int, str] = {}
        self._slots = slots
        self._clock_offset_ms = 0
        self._subtask = Subtask(
            config,
            read_records or ReadEvents(config.out_of_orderness_ms),
            KinesisClient(config, POLLS_AT_A_TIME),
            self.counted,
            self.now_ms,
            **more,
        )
        for slot in slots:
            self._subtask.give(slot, read_state((states or {}).get(slot)))

    def now_ms(self) -> int:
        return time_ns() // 1_000_000 + self._clock_offset_ms

    def pass_ms(self, ms: int) -> None:
        """Put the clock forward."""
        self._clock_offset_ms += ms

    def round(self) -> None:
        """One turn of each slot."""
        for slot in self._slots:
            self.rows += self._subtask.turn(slot)
            self.states[slot] = write_state(self._subtask.state(slot))

    def until(self, is_done: Callable[[], object]) -> "Reading":
        """Turns until something holds."""
        ends_s = monotonic() + PATIENCE_S
        while not is_done():
            assert monotonic() < ends_s, f"waited in vain; read {self.rows[-5:]}, counted {self.counted.numbers}"
            self.round()
            sleep(0.002)
        return self

    def until_read(self, events: int) -> "Reading":
        """Turns until so many events are read."""
        return self.until(lambda: len(self.events) >= events)

    @property
    def events(self) -> list[int]:
        """The numbers of the events read, late ones too, in their order."""
        return [row[0] for row in self.rows if row[3] in ("event", "late")]

    @property
    def late(self) -> list[int]:
        """The numbers of those that were late."""
        return [row[0] for row in self.rows if row[3] == "late"]

    @property
    def low_water_ms(self) -> int:
        """The last low-water mark; 0 where there has been none."""
        return max((row[2] for row in self.rows), default=0)

    def close(self) -> None:
        self._subtask.close()

    def __enter__(self) -> "Reading":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def assert_rows_keep_promises(rows: list[Row]) -> None:
    """No row that counts is older than a low-water mark before it."""
    promised_ms = 0
    for number, at_ms, low_water_ms, kind in rows:
        assert low_water_ms >= promised_ms
        promised_ms = low_water_ms
        assert kind != "event" or at_ms >= promised_ms, f"event {number} is older than was promised"
