"""Result directories as a replay leaves them, made without Flink: of what the batch oracle decides."""

import json
from collections.abc import Sequence
from pathlib import Path

from connectors.dynamodb.fast_path import FastPath
from connectors.recordings.files import find_recordings
from jobs.capacity.lane import Lane, LaneSettings
from jobs.capacity.result_files import LINE_FILES, SETTINGS_FILE
from jobs.recorded.lanes import plan_lanes
from jobs.recorded.reports import read_report
from jobs.recorded.tables import table_schemas
from jobs.results import Results
from jobs.settings import Settings
from jobs.settings.render import to_toml
from tests.oracle import judge


def keep_result(paths: Sequence[Path], files: Sequence[Sequence[bytes]], settings: Settings, out: Path) -> Path:
    """The result of a replay of files at these paths, which hold these records."""
    judgement = judge(files, settings)
    found = find_recordings(paths)
    bounds = LaneSettings(5_000, settings.window.out_of_orderness_ms, settings.decode.future_tolerance_ms)
    [segments] = plan_lanes(found, 1)
    with Results(out, LINE_FILES) as results:
        for number, action in enumerate(judgement.actions):
            results.add("shadow.jsonl" if settings.shadow else "actions.jsonl", (number,), json.dumps(action))
        for number, line in enumerate(judgement.windows):
            results.add("windows.jsonl", (number,), json.dumps(line))
        for row in Lane(segments, FastPath(table_schemas(settings)), bounds).rows():
            if row.report is not None:
                report = read_report(row.report)
                for name, lines in (("malformed.jsonl", report.malformed), ("late.jsonl", report.late)):
                    for line in lines:
                        results.add(name, (), json.dumps(line))
        for number, text in enumerate(to_toml(settings).splitlines()):
            results.add(SETTINGS_FILE, (number,), text)
        recording = [{"file": str(file.path), "size_bytes": file.size_bytes} for file in found]
        results.publish({**judgement.counts, "recording": recording})
    return out
