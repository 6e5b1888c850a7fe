"""How far a shard is, and what that promises about all that is still to come from it. Pure."""

import msgspec

from connectors.kinesis.records import NO_TIME_MS


class Progress(msgspec.Struct, frozen=True):
    """How far a shard is read.

    Attributes:
        newest_ms: The newest event time read.
        delay_ms: How long the newest event took to arrive, by the records read last.
        cursor_ms: The arrival time up to which everything has been read.
        low_water_ms: The promise so far: nothing older comes. It never falls.
    """

    newest_ms: int = NO_TIME_MS
    delay_ms: int | None = None
    cursor_ms: int = NO_TIME_MS
    low_water_ms: int = NO_TIME_MS

    def with_records(self, newest_ms: int, last_arrival_ms: int, out_of_orderness_ms: int) -> "Progress":
        """After records were read: nothing older comes than the newest of them, but for the out-of-orderness."""
        newest_ms = max(self.newest_ms, newest_ms)
        delay_ms = self.delay_ms if newest_ms == NO_TIME_MS else max(0, last_arrival_ms - newest_ms)
        return Progress(
            newest_ms,
            delay_ms,
            max(self.cursor_ms, last_arrival_ms),
            max(self.low_water_ms, newest_ms - out_of_orderness_ms),
        )

    def with_cursor(self, cursor_ms: int, delay_ms: int | None, margin_ms: int, out_of_orderness_ms: int) -> "Progress":
        """After an answer that leaves nothing unread that arrived before the cursor.

        What arrives later is taken to be as long under way as what arrived before, and a margin longer. So time goes
        on in a shard that has nothing to give, and at its own pace in a stream into which old events are written.

        Args:
            cursor_ms: The arrival time in question; for a shard read up to its newest record, now.
            delay_ms: How long events are under way: this shard's, or where it has had none another's; None where
                that is not known, so that nothing can be promised.
            margin_ms: How much longer they may be.
            out_of_orderness_ms: How far they may come out of order.
        """
        cursor_ms = max(self.cursor_ms, cursor_ms)
        if delay_ms is None:
            return Progress(self.newest_ms, self.delay_ms, cursor_ms, self.low_water_ms)
        expected_ms = cursor_ms - delay_ms - margin_ms - out_of_orderness_ms
        return Progress(self.newest_ms, self.delay_ms, cursor_ms, max(self.low_water_ms, expected_ms))


def inherited(parents: "list[Progress]") -> Progress:
    """What holds for a shard that goes on where its parents ended: what the slower one promised."""
    if not parents:
        return Progress()
    delays = [parent.delay_ms for parent in parents if parent.delay_ms is not None]
    return Progress(
        newest_ms=min(parent.newest_ms for parent in parents),
        delay_ms=max(delays, default=None),
        low_water_ms=min(parent.low_water_ms for parent in parents),
    )
