"""The command `headroom inspect`: one JSON line for each record."""

import json
import sys
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from connectors.dynamodb.change import Change, Ignored, Malformed, TableSchema, parse_change
from connectors.dynamodb.clock import RECORDS_AROUND, is_too_far_ahead, malformed_clock
from connectors.recordings.chunks import Chunk, read_chunks
from connectors.recordings.files import RecordingFile
from jobs.capacity.decoded import expand_chunk
from jobs.inspect import inspect_line
from jobs.options import config_option, open_recordings, open_settings, paths_argument
from jobs.settings import Settings

Outcome = Change | Malformed | Ignored


@click.command()
@paths_argument
@config_option
def inspect(paths: tuple[Path, ...], config_file: Path | None) -> None:
    """Print what is in the records of FILEs or directories, one JSON line for each.

    Images are always weighed. Tables with two key attributes need their partition key in the settings; without it
    their records are malformed, with the name of the missing setting.

    \b
    Examples:
      headroom inspect record.json
      headroom inspect day.jsonl.gz --config headroom.toml | grep '"malformed"'
    """  # noqa: D301 - click looks for the character that the escape stands for
    settings = open_settings(config_file)
    for file in open_recordings(paths):
        for outcome in outcomes(file, settings):
            line = json.dumps(inspect_line(outcome), ensure_ascii=False)
            sys.stdout.write(line.encode(errors="backslashreplace").decode() + "\n")


def outcomes(file: RecordingFile, settings: Settings) -> Iterator[Outcome]:
    """The outcomes of all records of a file, in its order."""
    return _with_clocks_checked(_parsed(file, settings), settings.decode.future_tolerance_ms)


def _parsed(file: RecordingFile, settings: Settings) -> Iterator[Outcome]:
    schemas = {name: TableSchema(table.partition_key, table.transactional) for name, table in settings.tables.items()}
    for chunk in read_chunks(file):
        yield from _parsed_chunk(chunk, schemas)
        if chunk.fault is not None:
            yield Malformed(chunk.fault)


def _parsed_chunk(chunk: Chunk, schemas: dict[str, TableSchema]) -> list[Outcome]:
    parsed = [parse_change(document, schemas) for document in chunk.documents]
    suspects = [index for index, outcome in enumerate(parsed) if isinstance(outcome, Malformed)]
    expanded = expand_chunk(chunk, suspects) if suspects else None
    return parsed if expanded is None else [parse_change(document, schemas) for document in expanded.documents]


def _with_clocks_checked(parsed: Iterator[Outcome], tolerance_ms: int) -> Iterator[Outcome]:
    """The outcomes, with a change whose time is far ahead of the changes around it made malformed."""
    newest_ms = 0
    ahead: deque[Outcome] = deque()
    ahead_ms: deque[int] = deque()
    for outcome in chain(parsed, [None]):
        if outcome is not None:
            ahead.append(outcome)
            if isinstance(outcome, Change):
                ahead_ms.append(outcome.at_ms)
        while ahead and (outcome is None or len(ahead_ms) > RECORDS_AROUND):
            first = ahead.popleft()
            if isinstance(first, Change):
                at_ms = ahead_ms.popleft()
                if at_ms - newest_ms > tolerance_ms and is_too_far_ahead(at_ms, ahead_ms, tolerance_ms):
                    first = malformed_clock(first)
                else:
                    newest_ms = max(newest_ms, at_ms)
            yield first
