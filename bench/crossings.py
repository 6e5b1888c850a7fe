"""What every competitor must find: who went over the limit in a window, and at which step it was first known."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from connectors.dynamodb.change import TableSchema

WINDOW_MS: Final = 120_000
STEP_MS: Final = 5_000
OUT_OF_ORDERNESS_MS: Final = 2_000
LIMIT_WCU: Final = 6_000
SCHEMAS: Final = {"conversations": TableSchema("pk")}
"""The tables of the recording whose partition key must be told; `sessions` has but one key attribute."""


class Crossing(NamedTuple):
    """A partition key that went over the limit in a window; `step_end_ms` is when that was first known."""

    table: str
    partition_key: str
    step_end_ms: int


def crossing(table: str, partition_key: str, wcu_by_step: Mapping[int, int]) -> Crossing | None:
    """The crossing in one window, from what the key consumed in each of its steps; None where there is none."""
    total_wcu = 0
    for step in sorted(wcu_by_step):
        total_wcu += wcu_by_step[step]
        if total_wcu >= LIMIT_WCU:
            return Crossing(table, partition_key, (step + 1) * STEP_MS)
    return None


def line(found: Crossing) -> str:
    """A crossing as a line of JSON."""
    return json.dumps(found._asdict())


def report(found: Iterable[Crossing]) -> None:
    """Print crossings on stdout."""
    sys.stdout.writelines(f"{line(each)}\n" for each in found)
    sys.stdout.flush()


def read_lines(path: Path) -> set[Crossing]:
    """The crossings that a competitor printed."""
    return {Crossing(**json.loads(text)) for text in path.read_text().splitlines()}
