"""What a batch of records of one shard of a live stream tells each subject. Pure.

A shard's progress is the newest time so far in it, but never beyond the arrival of the record that has it: a clock that
is ahead lets no pool's time pass. Nothing is late: an instance is acted on whenever its event comes, and evidence about
a pool that comes late counts at once.
"""

import json
from collections.abc import Iterator
from typing import Any

from connectors.ec2.events import Event, Ignored, Malformed
from connectors.kinesis.records import KinesisRecord, ReadBatch, Row, ShardBatch
from connectors.spot_fact_records import parse_event_or_facts
from connectors.spot_facts import Facts
from jobs.recorded.reports import malformed_line
from jobs.spot.outcomes import OutcomeKind
from jobs.spot.routing import kind_name, route


def read_batch(batch: ShardBatch, future_tolerance_ms: int) -> ReadBatch:
    """The rows of a batch: what each subject is told, a line for each malformed record, and last what was counted.

    Args:
        batch: Records, and how far their shard was before.
        future_tolerance_ms: How far ahead of its arrival the time of an event may be; one beyond it is malformed.
    """
    rows: list[Row] = []
    counts: dict[str, int] = {}
    progress_ms = batch.progress_ms
    newest_ms = None
    for record in batch.records:
        outcome = _believed(parse_event_or_facts(record.data), record, future_tolerance_ms)
        if isinstance(outcome, Malformed):
            line = malformed_line(outcome.reason, _position(batch, record), record.data)
            rows.append(report_row(OutcomeKind.MALFORMED, line, batch.low_water_ms))
            name = "malformed"
        elif isinstance(outcome, Ignored):
            name = "ignored"
        else:
            name = kind_name(outcome)
            progress_ms = max(progress_ms, min(outcome.at_ms, record.arrival_time_ms))
            newest_ms = outcome.at_ms if newest_ms is None else max(newest_ms, outcome.at_ms)
            rows.extend(_told_rows(outcome, batch.low_water_ms))
        counts[name] = counts.get(name, 0) + 1
    counted = {"counts": counts, "last_event_ms": newest_ms}
    rows.append(report_row(OutcomeKind.COUNTED, counted, batch.low_water_ms))
    return ReadBatch(rows, progress_ms)


def report_row(kind: OutcomeKind, line: dict[str, Any], low_water_ms: int) -> Row:
    """A row that concerns no subject."""
    return None, kind.value, low_water_ms, None, low_water_ms, json.dumps(line, ensure_ascii=False)


def mark_row(low_water_ms: int) -> Row:
    """A row that says nothing but the time."""
    return None, None, low_water_ms, None, low_water_ms, None


def _told_rows(outcome: Event | Facts, low_water_ms: int) -> Iterator[Row]:
    for told in route(outcome):
        yield told.subject, told.kind.value, told.at_ms, told.value, low_water_ms, None


def _believed(
    outcome: Event | Facts | Malformed | Ignored, record: KinesisRecord, future_tolerance_ms: int
) -> Event | Facts | Malformed | Ignored:
    if isinstance(outcome, Malformed | Ignored) or outcome.at_ms <= record.arrival_time_ms + future_tolerance_ms:
        return outcome
    reason = f"time is {outcome.at_ms} ms, far ahead of its arrival at {record.arrival_time_ms} ms"
    return Malformed(reason, event_id=outcome.event_id, at_ms=outcome.at_ms)


def _position(batch: ShardBatch, record: KinesisRecord) -> dict[str, str | int]:
    return {"shard_id": batch.shard_id, "sequence_number": record.sequence_number}
