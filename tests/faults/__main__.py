"""Runs all faults, prints the table and writes docs/reliability.md: `make faults`."""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.loop import Row
from tests.faults.messages import between_queue_and_cache
from tests.faults.report import page, table
from tests.faults.scenarios import cache, duplicates, job_and_queue, workers_and_task_manager

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
SCENARIOS: tuple[Callable[[Path], list[Row]], ...] = (
    duplicates,
    job_and_queue,
    workers_and_task_manager,
    cache,
    between_queue_and_cache,
)


def main() -> int:
    """The exit status: 1 when a fault left a trace."""
    rows: list[Row] = []
    for scenario in SCENARIOS:
        began_s = time.monotonic()
        print(f"{scenario.__name__.replace('_', ' ')} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="headroom-faults-", ignore_cleanup_errors=True) as directory:
            rows += scenario(Path(directory))
        print(f"  {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.system()}, Python {platform.python_version()}"
    PAGE.write_text(page(rows, datetime.now(UTC).strftime("%Y-%m-%d"), machine), encoding="utf-8")
    print(table(rows))
    return 0 if all(row.is_clean for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
