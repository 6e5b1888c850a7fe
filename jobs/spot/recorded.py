"""A recording of events and facts, chunk by chunk, in any form that recordings come in. I/O."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from connectors.ec2.events import Event, Ignored, Malformed
from connectors.recordings.chunks import Chunk, read_chunks
from connectors.recordings.files import RecordingFile
from connectors.spot_fact_records import parse_event_or_facts
from connectors.spot_facts import Facts
from jobs.recorded.decoded import expand_chunk
from jobs.recorded.reports import malformed_line


class RecordedChunk(NamedTuple):
    """What a stretch of a recording holds.

    Attributes:
        read_bytes: how much of the file it is.
        ignored: how many messages are not ours.
        malformed: a line for each that is broken.
    """

    read_bytes: int
    told: list[Event | Facts]
    ignored: int
    malformed: list[dict[str, Any]]


def read_recorded(file: RecordingFile) -> Iterator[RecordedChunk]:
    """All that a file holds, in its order, in bounded memory.

    Raises:
        OSError: The file cannot be read further.
    """
    for chunk in read_chunks(file):
        yield _parsed(file, chunk)


def _parsed(file: RecordingFile, chunk: Chunk) -> RecordedChunk:
    read_bytes = chunk.read_bytes
    outcomes = list(map(parse_event_or_facts, chunk.documents))
    suspects = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Malformed | Ignored)]
    expanded = expand_chunk(chunk, suspects) if suspects else None
    if expanded is not None:
        chunk, outcomes = expanded, list(map(parse_event_or_facts, expanded.documents))
    told: list[Event | Facts] = []
    ignored = 0
    malformed: list[dict[str, Any]] = []
    for document, place, outcome in zip(chunk.documents, chunk.places(), outcomes, strict=True):
        if isinstance(outcome, Malformed):
            malformed.append(malformed_line(outcome.reason, _position(file, chunk, place), document))
        elif isinstance(outcome, Ignored):
            ignored += 1
        else:
            told.append(outcome)
    if chunk.fault is not None:
        position = _position(file, chunk, chunk.fault.place)
        malformed.append(malformed_line(chunk.fault.reason, position, chunk.fault.record))
    return RecordedChunk(read_bytes, told, ignored, malformed)


def _position(file: RecordingFile, chunk: Chunk, place: int) -> dict[str, str | int]:
    return {"file": file.path, "row" if chunk.in_rows else "byte": place}
