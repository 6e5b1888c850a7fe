"""The command `headroom inspect`: one JSON line for each record."""

import json
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from connectors.dynamodb.change import Change, Ignored, Malformed, TableSchema
from connectors.dynamodb.clock import RECORDS_AROUND, is_too_far_ahead, malformed_clock
from connectors.dynamodb.parse import parse_change
from connectors.recordings.chunks import Chunk, read_chunks
from connectors.recordings.files import RecordingError, RecordingFile
from jobs.inspect import inspect_line
from jobs.options import EXIT_FAILED, config_option, open_recordings, open_settings, paths_argument, refuse
from jobs.recorded.decoded import expand_chunk
from jobs.recorded.tables import table_schemas
from jobs.settings import Settings

Outcome = Change | Malformed | Ignored

# How far ahead is read for changes that a wrong clock is told by.
_MOST_AHEAD: Final = 10_000


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
        told = 0
        try:
            for outcome in outcomes(file, settings):
                line = json.dumps(inspect_line(outcome), ensure_ascii=False) + "\n"
                # As bytes: JSON is UTF-8 whatever the terminal takes text to be.
                sys.stdout.buffer.write(line.encode())
                told += 1
        except RecordingError as error:
            refuse([str(error)], EXIT_FAILED)
        if not told:
            click.echo(f"headroom: {file.path}: holds no record", err=True)


def outcomes(file: RecordingFile, settings: Settings) -> Iterator[Outcome]:
    """The outcomes of all records of a file, in its order.

    Raises:
        RecordingError: The file cannot be read further.
    """
    return _with_clocks_checked(_parsed(file, settings), settings.decode.future_tolerance_ms)


def _parsed(file: RecordingFile, settings: Settings) -> Iterator[Outcome]:
    schemas = table_schemas(settings)
    try:
        for chunk in read_chunks(file):
            yield from _parsed_chunk(chunk, schemas)
            if chunk.fault is not None:
                yield Malformed(chunk.fault.reason)
    except OSError as error:
        message = f"{file.path}: {error.strerror or error}"
        raise RecordingError(message) from error


def _parsed_chunk(chunk: Chunk, schemas: dict[str, TableSchema]) -> list[Outcome]:
    parsed = [parse_change(document, schemas) for document in chunk.documents]
    suspects = [index for index, outcome in enumerate(parsed) if not isinstance(outcome, Change)]
    expanded = expand_chunk(chunk, suspects) if suspects else None
    return parsed if expanded is None else [parse_change(document, schemas) for document in expanded.documents]


def _with_clocks_checked(parsed: Iterator[Outcome], tolerance_ms: int) -> Iterator[Outcome]:
    """The outcomes, with a change whose time is far ahead of the changes around it made malformed."""
    newest_ms = 0
    ahead: deque[Outcome] = deque()
    while (outcome := ahead.popleft() if ahead else next(parsed, None)) is not None:
        if isinstance(outcome, Change):
            at_ms = outcome.at_ms
            if at_ms - newest_ms > tolerance_ms and is_too_far_ahead(at_ms, _following_ms(ahead, parsed), tolerance_ms):
                outcome = malformed_clock(outcome)
            else:
                newest_ms = max(newest_ms, at_ms)
        yield outcome


def _following_ms(ahead: deque[Outcome], parsed: Iterator[Outcome]) -> list[int]:
    """The times of the changes that follow, read ahead as far as it takes."""
    times = [outcome.at_ms for outcome in ahead if isinstance(outcome, Change)]
    while len(times) < RECORDS_AROUND and len(ahead) < _MOST_AHEAD and (outcome := next(parsed, None)) is not None:
        ahead.append(outcome)
        if isinstance(outcome, Change):
            times.append(outcome.at_ms)
    return times
