"""Headroom itself: the command that a user runs, and its result as crossings."""

import json
import sys
from pathlib import Path

from bench.crossings import LIMIT_WCU, OUT_OF_ORDERNESS_MS, SCHEMAS, STEP_MS, WINDOW_MS, Crossing
from jobs.execution import ExecutionMode


def command(recording: Path, mode: ExecutionMode, out: Path) -> list[str]:
    """The command line; the settings that it wants are written beside `out`."""
    config = out.with_suffix(".toml")
    config.write_text(_settings())
    return [
        sys.executable, "-c", "from jobs.cli import main; main()", "replay", str(recording), "--config", str(config),
        "--out", str(out), "--parallelism", "2", "--execution-mode", mode,
    ]  # fmt: skip


def _settings() -> str:
    tables = "".join(f'[tables.{name}]\npartition_key = "{schema.partition_key}"\n' for name, schema in SCHEMAS.items())
    return (
        f'[window]\nsize = "{WINDOW_MS // 1000}s"\nstep = "{STEP_MS // 1000}s"\n'
        f'out_of_orderness = "{OUT_OF_ORDERNESS_MS // 1000}s"\n'
        f"[limits]\ndefault_wcu = {LIMIT_WCU}\n{tables}"
    )


def read_result(out: Path) -> set[Crossing]:
    """The crossings in a result: in each window of a key, the first line that is over the limit."""
    first: dict[tuple[str, str, int], int] = {}
    with (out / "windows.jsonl").open() as lines:
        for text in lines:
            fields = json.loads(text)
            if fields["level"] == "over":
                window = (fields["table"], fields["partition_key"], fields["window_start_ms"])
                first[window] = min(first.get(window, fields["step_end_ms"]), fields["step_end_ms"])
    return {Crossing(table, partition_key, end_ms) for (table, partition_key, _), end_ms in first.items()}
