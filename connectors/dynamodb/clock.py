"""Times of change records that cannot be told from one record alone. Pure."""

from collections.abc import Collection
from itertools import islice
from typing import Final

from connectors.dynamodb.change import Change, Malformed

RECORDS_AROUND: Final = 15
"""How many records after it are asked whether a record's time is plausible."""


def is_too_far_ahead(at_ms: int, following_ms: Collection[int], tolerance_ms: int) -> bool:
    """Whether a time that jumps ahead is a wrong clock's: most of the records that follow lie far behind it.

    After a true gap in the stream the records that follow lie beyond the gap too. With nothing following there is
    nobody whose window it could close, and it is believed.

    Args:
        at_ms: The time in question, more than `tolerance_ms` ahead of all before it.
        following_ms: The times of the next records in their order, `RECORDS_AROUND` of them where there are so many.
        tolerance_ms: How far ahead of the others a clock may be.
    """
    if not following_ms:
        return False
    middle_ms = sorted(islice(following_ms, RECORDS_AROUND))[min(len(following_ms), RECORDS_AROUND) // 2]
    return at_ms - middle_ms > tolerance_ms


def wrong_clock_reason(at_ms: int) -> str:
    """Why a change with such a time is malformed."""
    return f"ApproximateCreationDateTime is {at_ms} ms, far ahead of the records around it"


def malformed_clock(change: Change) -> Malformed:
    """A change whose time is not believed."""
    return Malformed(
        reason=wrong_clock_reason(change.at_ms),
        table=change.table,
        partition_key=change.partition_key,
        partition_key_type=change.partition_key_type,
        at_ms=change.at_ms,
        event_id=change.event_id,
        event_name=change.event_name,
    )
