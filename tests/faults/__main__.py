"""Runs all faults, prints the table and writes docs/reliability.md: `make faults`.

Each scenario is a process of its own; `python -m tests.faults NAME...` runs some anew and keeps what is known of the
others. FAULTS_AT_ONCE says how many run side by side.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.ledger import ledger, ledger_on_a_cluster
from tests.faults.loop import Row
from tests.faults.messages import between_queue_and_cache
from tests.faults.report import page, table
from tests.faults.scenarios import cache, duplicates, job_and_queue, shards, workers_and_task_manager

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
KEPT = ROOT / ".faults"
SCENARIOS: dict[str, Callable[[Path], list[Row]]] = {
    scenario.__name__: scenario
    for scenario in (
        *(shards, job_and_queue, workers_and_task_manager, cache, duplicates, between_queue_and_cache),
        *(ledger, ledger_on_a_cluster),
    )
}


def run(names: Sequence[str]) -> int:
    """The exit status: 1 when a fault left a trace, or a scenario did not come to its end."""
    KEPT.mkdir(exist_ok=True)
    for name in names:
        (KEPT / f"{name}.json").unlink(missing_ok=True)
    with ThreadPoolExecutor(int(os.environ.get("FAULTS_AT_ONCE", "1"))) as pool:
        list(pool.map(run_apart, names))
    found = kept()
    rows = [Row(**row) for each in found for row in each["rows"]]
    loads = [each["load"] for each in found]
    if rows:
        PAGE.write_text(page(rows, datetime.now(UTC).strftime("%Y-%m-%d"), machine(loads)), encoding="utf-8")
        print(table(rows))
    return 0 if len(found) == len(SCENARIOS) and all(row.is_clean for row in rows) else 1


def run_apart(name: str) -> None:
    """Run a scenario in a process of its own."""
    began_s = time.monotonic()
    ended = subprocess.run([sys.executable, "-m", "tests.faults", "--here", name], check=False)
    told = "did not come to its end" if ended.returncode else f"{time.monotonic() - began_s:.0f} s"
    print(f"{name}: {told}", file=sys.stderr, flush=True)


def run_here(name: str) -> int:
    """Keep what a scenario finds."""
    with tempfile.TemporaryDirectory(prefix="headroom-faults-", ignore_cleanup_errors=True) as directory:
        rows = [asdict(row) for row in SCENARIOS[name](Path(directory))]
    found = {"rows": rows, "load": os.getloadavg()[0]}
    (KEPT / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")
    return 0


def kept() -> list[dict[str, Any]]:
    """What is known of each scenario that came to its end."""
    paths = [KEPT / f"{name}.json" for name in SCENARIOS]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def machine(loads: Sequence[float]) -> str:
    """What it ran on, and how busy that was."""
    cores = len(os.sched_getaffinity(0))
    busy = f"load {min(loads):.0f} to {max(loads):.0f}"
    return f"{platform.system()} with {cores} cores ({busy}), Python {platform.python_version()}"


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["--here"]:
        return run_here(arguments[1])
    if unknown := set(arguments) - SCENARIOS.keys():
        sys.exit(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return run(arguments or list(SCENARIOS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
