"""The outbox as a Flink operator: actions wait in keyed state until a FIFO queue has accepted them. I/O.

What it guarantees:

- **At least once.** A message leaves the state after SQS has accepted it, so whatever is killed, a message that was
  part of a checkpoint is sent. One that was accepted after the last checkpoint is sent again when the job comes back,
  with the same deduplication id: the queue drops it within five minutes, and whoever receives it later has to know it
  by that id.
- **In order within a group.** Of a group one message at a time is under way, and the next one is sent when it has been
  accepted, whatever fails. (A message sent again after a crash comes again behind those that were accepted after it.)
- **Not too late.** A message past its `not_after_ms` is not sent, but told as expired.
- **An outage costs no checkpoint.** A try takes three seconds at most, and between tries, at most five seconds apart,
  nothing is held up. Meanwhile what waits is in the state, and the next checkpoint has it.
- **What no further try can mend ends the job**, loudly: a queue that is gone, rights that are missing. The job comes
  back from its last checkpoint, with all that waits.
- **A message that SQS will never accept** (it says so of that message alone) does not hold up its group: it is told as
  refused, with SQS's reason.

When nothing is under way, a message is sent as soon as it comes.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pyflink.common import Row, Types
from pyflink.datastream import DataStream, KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor
from pyflink.metrics import Counter

from connectors.published_metrics import PUBLISHED
from connectors.sqs.outbox import LONGEST_PAUSE_MS, Message, Outbox, Waiting
from connectors.sqs.send import Answer, connect, require_fifo_queue, send

SENT, EXPIRED, REFUSED = "sent", "expired", "refused"
TOLD_TYPE: Final = Types.ROW_NAMED(["kind", "line"], [Types.STRING(), Types.STRING()])
"""What the sink tells of each message: one of the three words, and a line of JSON.

It has `group_id` and `deduplication_id`, `came_at_ms` (null of a message that a checkpoint brought back) and `at_ms`,
and of a refused one the `reason` and the `body`.
"""

# One call sends for so long at most before other work of the task, such as a checkpoint, has its turn.
_LONGEST_TURN_S: Final = 0.5
_MESSAGE_TYPE: Final = Types.TUPLE([Types.STRING(), Types.STRING(), Types.STRING(), Types.LONG()])

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Destination:
    """A FIFO queue.

    Attributes:
        queue_url: Its address; it may be empty where nothing is to be sent.
        region: None where that of any AWS client holds.
        endpoint_url: The same.
        is_closed: Nothing is to be sent: messages that come are dropped, and those that wait go on waiting.
    """

    queue_url: str
    region: str | None = None
    endpoint_url: str | None = None
    is_closed: bool = False


def send_to_queue(
    stream: DataStream, destination: Destination, as_message: Callable[[Row], Message], *, uid: str
) -> DataStream:
    """What became of the messages of a stream, as rows of `TOLD_TYPE`, while they are being sent."""
    # Sending waits for the network and not for a processor; one subtask makes batches of all that there is.
    return (
        stream.key_by(lambda _: 0, key_type=Types.INT())
        .process(SqsOutbox(destination, as_message), output_type=TOLD_TYPE)
        .set_parallelism(1)
        .name(uid)
        .uid(uid)
    )


class SqsOutbox(KeyedProcessFunction):
    """Sends the messages of its elements; all that is kept is under one key."""

    def __init__(self, destination: Destination, as_message: Callable[[Row], Message]) -> None:
        self._destination = destination
        self._as_message = as_message

    def open(self, runtime_context: RuntimeContext) -> None:
        """Look whether the queue is there.

        Raises:
            QueueRefusesError: It is not.
        """
        destination = self._destination
        if not destination.is_closed:
            self._client = connect(destination.region, destination.endpoint_url)
            require_fifo_queue(self._client, destination.queue_url)
        self._kept: MapState = runtime_context.get_map_state(MapStateDescriptor("waiting", Types.LONG(), _MESSAGE_TYPE))
        # What is in the state, in the order in which it is to be sent; read once, for the state is read by nobody else.
        self._outbox: Outbox | None = None
        # When each came, by its number; nobody needs to know that of one that a checkpoint brings back.
        self._came_at_ms: dict[int, int] = {}
        metrics = runtime_context.get_metrics_group().add_group(PUBLISHED).add_group("outbox")
        self._counters: dict[str, Counter] = {kind: metrics.counter(kind) for kind in (SENT, EXPIRED, REFUSED)}
        self._outages: Counter = metrics.counter("outages")
        metrics.gauge("waiting", lambda: len(self._outbox or ()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Nothing yet; the message is sent by a timer that is due now."""
        if self._destination.is_closed:
            return iter(())
        waiting = self._restored().add(self._as_message(value))
        self._kept.put(waiting.number, tuple(waiting.message))
        now_ms = self._came_at_ms[waiting.number] = _now_ms()
        ctx.timer_service().register_processing_time_timer(now_ms)
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """What became of all that is to be sent now."""
        outbox = self._restored()
        if self._destination.is_closed:
            # The timer is what begins to send again when the queue is opened.
            ctx.timer_service().register_processing_time_timer(_now_ms() + LONGEST_PAUSE_MS)
            return
        turn_ends_s = time.monotonic() + _LONGEST_TURN_S
        while (batch := outbox.batch(_now_ms())) and time.monotonic() < turn_ends_s:
            yield from self._send(outbox, batch)
        due_ms = outbox.due_ms()
        if due_ms is not None:
            ctx.timer_service().register_processing_time_timer(max(due_ms, _now_ms() + 1))

    def _send(self, outbox: Outbox, batch: list[Waiting]) -> Iterator[Row]:
        now_ms = _now_ms()
        expired = [each for each in batch if each.message.not_after_ms <= now_ms]
        for each in expired:
            yield self._done(outbox, each, EXPIRED)
        in_time = [each for each in batch if each.message.not_after_ms > now_ms]
        if in_time:
            yield from self._settle(outbox, send(self._client, self._destination.queue_url, in_time))

    def _settle(self, outbox: Outbox, answer: Answer) -> Iterator[Row]:
        now_ms = _now_ms()
        if answer.outage is not None:
            outbox.unanswered(now_ms)
            self._outages.inc()
            logger.warning("%s does not answer: %s", self._destination.queue_url, answer.outage)
            return
        outbox.answered()
        for each in answer.postponed:
            outbox.postpone(each, now_ms)
        for each in answer.accepted:
            yield self._done(outbox, each, SENT)
        for each, reason in answer.refused:
            logger.error("message %s is refused: %s", each.message.deduplication_id, reason)
            yield self._done(outbox, each, REFUSED, reason)

    def _done(self, outbox: Outbox, waiting: Waiting, kind: str, reason: str | None = None) -> Row:
        outbox.remove(waiting)
        self._kept.remove(waiting.number)
        self._counters[kind].inc()
        message = waiting.message
        line: dict[str, Any] = {
            "group_id": message.group_id,
            "deduplication_id": message.deduplication_id,
            "came_at_ms": self._came_at_ms.pop(waiting.number, None),
            "at_ms": _now_ms(),
        }
        return Row(kind, json.dumps(line if reason is None else line | {"reason": reason, "body": message.body}))

    def _restored(self) -> Outbox:
        if self._outbox is None:
            self._outbox = Outbox(Waiting(number, Message(*message)) for number, message in self._kept.items())
        return self._outbox


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
