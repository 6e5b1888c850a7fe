"""The changes of one partition key in a stretch of time, found in a recording without decoding the others. I/O."""

import base64
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from connectors.dynamodb.change import Change, TableSchema
from connectors.dynamodb.parse import parse_change
from connectors.recordings.envelopes import expand
from connectors.recordings.files import RecordingFile
from connectors.recordings.segments import plan_segments
from jobs.recorded.decoded import first_time_ms
from jobs.recorded.distinct import Key
from jobs.recorded.tables import table_schemas
from jobs.settings import Settings

# In JSON these characters stand for themselves, unless somebody took the trouble to write them by their numbers.
_PLAIN: Final = re.compile(r"[ !#-.0-\[\]-~]+")
_ANY_RECORD_HAS: Final = b'"dynamodb"'


@dataclass(frozen=True, slots=True)
class FoundChange:
    """A change of the key.

    Attributes:
        sort_key: As text; None in a table that has none.
        is_late: It came too late to count.
    """

    change: Change
    sort_key: str | None
    is_late: bool


def find_changes(
    files: Iterable[RecordingFile],
    key: Key,
    stretch_ms: tuple[int, int],
    settings: Settings,
    late: Iterable[dict[str, Any]],
    on_progress: Callable[[int], None] = lambda read_bytes: None,
) -> list[FoundChange]:
    """The changes of a key from one time to another, exclusive, in the order in which they stand.

    Args:
        files: The recording.
        key: Table, partition key and its type.
        stretch_ms: Beginning and end.
        settings: How records are decoded, and how far they may be out of order.
        late: The lines of `late.jsonl`.
        on_progress: Told how many bytes were read so far.
    """
    late_ones = Counter((line["at_ms"], line["wcu"]) for line in late if _key_in(line) == key)
    schemas = table_schemas(settings)
    found = []
    for document in _documents_with(key, files, stretch_ms[1] + settings.window.out_of_orderness_ms, on_progress):
        change = parse_change(document, schemas)
        if not isinstance(change, Change) or (change.table, change.partition_key, change.partition_key_type) != key:
            continue
        if not stretch_ms[0] <= change.at_ms < stretch_ms[1]:
            continue
        is_late = late_ones[change.at_ms, change.wcu] > 0
        late_ones[change.at_ms, change.wcu] -= is_late
        found.append(FoundChange(change, _sort_key(document, schemas.get(change.table)), is_late))
    return found


def _key_in(line: dict[str, Any]) -> Key:
    return line["table"], line["partition_key"], line["partition_key_type"]


def _documents_with(
    key: Key, files: Iterable[RecordingFile], end_ms: int, on_progress: Callable[[int], None]
) -> Iterator[bytes]:
    """The single records that can be of the key, from segments that do not all lie beyond a time."""
    text = base64.b64encode(key[1].encode()).decode() if key[2] == "B" else key[1]
    wanted = json.dumps(text, ensure_ascii=False)[1:-1].encode()
    escaped = b"\\u" if _PLAIN.fullmatch(text) else b"\\"
    read_bytes = 0
    for file in files:
        for segment in plan_segments(file, first_time_ms):
            if segment.first_ms is not None and segment.first_ms > end_ms:
                break
            for chunk in segment.chunks():
                for document in chunk.documents:
                    # What is encoded in an envelope shows neither the key nor the name that every record has.
                    if wanted in document or escaped in document or _ANY_RECORD_HAS not in document:
                        yield from _single_records(document)
                read_bytes += chunk.read_bytes
                on_progress(read_bytes)


def _single_records(document: bytes) -> list[bytes]:
    """The records in a document, which may hold several, or one in an envelope or behind a byte order mark."""
    parts = expand(document)
    return [document] if parts is None else [part.data for part in parts]


def _sort_key(document: bytes, schema: TableSchema | None) -> str | None:
    """The attribute of the key that is not the partition key, as text."""
    keys: dict[str, dict[str, str]] = msgspec.json.decode(document)["dynamodb"]["Keys"]
    partition_key = schema.partition_key if schema else None
    others = [value for name, value in keys.items() if name != partition_key]
    if len(keys) == 1 or not others:
        return None
    [(kind, text)] = others[0].items()
    return base64.b64decode(text).decode() if kind == "B" else text


def by_sort_key(found: Sequence[FoundChange]) -> list[tuple[str | None, list[FoundChange]]]:
    """The changes of each sort key, those that consumed most first."""
    groups: dict[str | None, list[FoundChange]] = {}
    for each in found:
        groups.setdefault(each.sort_key, []).append(each)
    return sorted(groups.items(), key=lambda group: (-sum(each.change.wcu for each in group[1]), str(group[0])))
