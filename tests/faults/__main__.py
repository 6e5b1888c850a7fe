"""Runs all faults, prints the table and writes docs/reliability.md: `make faults`.

Each scenario is a process of its own, `python -m tests.faults NAME`. FAULTS_AT_ONCE says how many run side by side.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.loop import Row
from tests.faults.messages import between_queue_and_cache
from tests.faults.report import page, table
from tests.faults.scenarios import cache, duplicates, job_and_queue, workers_and_task_manager

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
SCENARIOS: dict[str, Callable[[Path], list[Row]]] = {
    scenario.__name__: scenario
    for scenario in (job_and_queue, workers_and_task_manager, cache, duplicates, between_queue_and_cache)
}


def run_all() -> int:
    """The exit status: 1 when a fault left a trace, or a scenario did not come to its end."""
    found: dict[str, list[Row]] = {}
    loads: list[float] = []

    def run(name: str) -> None:
        began_s = time.monotonic()
        told = subprocess.run(
            [sys.executable, "-m", "tests.faults", name], stdout=subprocess.PIPE, text=True, check=False
        )
        if told.returncode:
            tell(f"{name} did not come to its end")
            return
        found[name] = [Row(**json.loads(line)) for line in told.stdout.splitlines()]
        loads.append(os.getloadavg()[0])
        rows = [row for each in SCENARIOS for row in found.get(each, [])]
        PAGE.write_text(page(rows, datetime.now(UTC).strftime("%Y-%m-%d"), machine(loads)), encoding="utf-8")
        tell(f"{name}: {time.monotonic() - began_s:.0f} s")

    with ThreadPoolExecutor(int(os.environ.get("FAULTS_AT_ONCE", "1"))) as pool:
        list(pool.map(run, SCENARIOS))
    rows = [row for each in SCENARIOS for row in found.get(each, [])]
    print(table(rows))
    return 0 if len(found) == len(SCENARIOS) and all(row.is_clean for row in rows) else 1


def run_one(name: str) -> int:
    """Tell the rows of one scenario, a line of JSON each."""
    with tempfile.TemporaryDirectory(prefix="headroom-faults-", ignore_cleanup_errors=True) as directory:
        for row in SCENARIOS[name](Path(directory)):
            print(json.dumps(asdict(row)))
    return 0


def machine(loads: list[float]) -> str:
    """What it ran on, and how busy that was."""
    cores = len(os.sched_getaffinity(0))
    busy = f"load {min(loads):.0f} to {max(loads):.0f}"
    return f"{platform.system()} with {cores} cores ({busy}), Python {platform.python_version()}"


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run_one(sys.argv[1]) if len(sys.argv) > 1 else run_all())
