"""Replay: the Spot job on a recording, from its files to a directory of results. I/O."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

from connectors.recordings.files import RecordingFile
from connectors.spot_action_messages import decode
from connectors.spot_actions import ReplaceInstance
from jobs.execution import ExecutionMode
from jobs.results import Results
from jobs.settings import Settings
from jobs.spot.outcomes import OutcomeKind
from jobs.spot.tally import Tally, change_order
from jobs.spot.timeline import Timeline

LINE_FILES: Final = ("actions.jsonl", "shadow.jsonl", "pools.jsonl", "malformed.jsonl")


def replay(
    files: Sequence[RecordingFile],
    settings: Settings,
    out: Path,
    *,
    parallelism: int,
    execution_mode: ExecutionMode,
    on_progress: Callable[[Tally], None],
) -> tuple[Tally, dict[str, Any]]:
    """What was found, and the summary of it as written.

    Args:
        files: The recording.
        settings: All settings.
        out: The directory for the results; an earlier result in it is replaced when all is done.
        parallelism: How many subtasks listen to instances.
        execution_mode: Where Flink runs Python.
        on_progress: Told of what was found so far, while reading and several times a second.

    Raises:
        ResultsError: `out` cannot be used.
        JobFailedError: The job failed.
        OSError: A file cannot be read further.
    """
    started_s = monotonic()
    tally = Tally()
    with (
        Results(out, LINE_FILES) as results,
        tempfile.TemporaryDirectory(prefix="headroom-spot-") as scratch,
        Timeline(Path(scratch) / "timeline.sqlite") as timeline,
    ):
        tally.counts = timeline.counts
        for file in files:
            for malformed in timeline.read(file):
                tally.malformed_reasons.add(malformed)
                for line in malformed:
                    _keep(results, line)
                on_progress(tally)
        for batch in _run(timeline, settings, parallelism=parallelism, execution_mode=execution_mode):
            for outcome in batch:
                _sort_out(outcome, results, tally, settings)
            on_progress(tally)
        summary = tally.summary(monotonic() - started_s)
        results.publish(summary)
    return tally, summary


def _run(
    timeline: Timeline,
    settings: Settings,
    *,
    parallelism: int,
    execution_mode: ExecutionMode,
) -> Iterator[list[str]]:
    """The outcomes of the job, some at a time, each its kind and its line."""
    # PyFlink takes most of a second to load, which a mistake in a path or a setting need not wait for.
    from pyflink.table.expressions import col, concat

    from jobs.runtime import collect_lines, local_environment
    from jobs.spot.job import build, recorded_source

    row_count = timeline.complete()
    environment = local_environment(parallelism=parallelism, execution_mode=execution_mode)
    outcomes = build(environment, recorded_source(environment, timeline.path, row_count), settings)
    lines = outcomes.select(concat(col("kind"), " ", col("line")))
    return collect_lines(environment, lines, "headroom replay --job spot")


def _sort_out(outcome: str, results: Results, tally: Tally, settings: Settings) -> None:
    kind, _, line = outcome.partition(" ")
    if kind == OutcomeKind.POOL:
        fields = json.loads(line)
        tally.add_change(fields)
        pool = " ".join(fields[name] for name in ("account", "region", "instance_type", "zone"))
        at_ms, told, before = change_order(fields)
        results.add("pools.jsonl", (at_ms, pool, told, before), line)
        return
    action = decode(line.encode())
    tally.add_action(action)
    about = action.instance_id if isinstance(action, ReplaceInstance) else f"{action.instance_type} {action.zone}"
    file = "shadow.jsonl" if settings.shadow else "actions.jsonl"
    results.add(file, (action.issued_at_ms, f"{action.account} {action.region}", about), line)


def _keep(results: Results, line: dict[str, Any]) -> None:
    place = line["position"]
    order = (place["file"], place.get("byte", place.get("row", 0)))
    results.add("malformed.jsonl", order, json.dumps(line, ensure_ascii=False))
