"""What `headroom inspect` says of one record."""

from __future__ import annotations

from connectors.dynamodb.change import Change, Ignored, Malformed


def inspect_line(outcome: Change | Malformed | Ignored) -> dict[str, object]:
    """Return what was read from a record, as the JSON object of its output line.

    Every line has the same names in the same order; a ``reason`` follows where the record is not a change.
    What is not known is null: ``old_bytes`` of a change without an old image, ``size_matches`` of a record
    without ``SizeBytes``, and of a malformed record whatever could not be read.
    """
    if isinstance(outcome, Change):
        return {
            "outcome": "change",
            "table": outcome.table,
            "partition_key": outcome.partition_key,
            "partition_key_type": outcome.partition_key_type,
            "at_ms": outcome.at_ms,
            "event_id": outcome.event_id,
            "event_name": str(outcome.event_name),
            "keys_bytes": outcome.keys_bytes,
            "old_bytes": outcome.old_bytes,
            "new_bytes": outcome.new_bytes,
            "size_bytes": outcome.size_bytes,
            "size_matches": outcome.size_matches,
            "wcu": outcome.wcu,
        }
    return {
        "outcome": "malformed" if isinstance(outcome, Malformed) else "ignored",
        "table": outcome.table,
        "partition_key": outcome.partition_key,
        "partition_key_type": outcome.partition_key_type,
        "at_ms": outcome.at_ms,
        "event_id": outcome.event_id,
        "event_name": outcome.event_name,
        "keys_bytes": None,
        "old_bytes": None,
        "new_bytes": None,
        "size_bytes": None,
        "size_matches": None,
        "wcu": None,
        "reason": outcome.reason,
    }
