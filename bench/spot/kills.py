"""The saga killed at each of its calls, before and after it took effect, and each call refused; over moto.

What is counted is what must be nothing: orphans, capacity below desired, MaxSize or processes not as before, double
launches, swaps left open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import click

from bench.spot import apply_kills
from tests.lambdas.test_spot_saga_kills import Ran, at_each_call
from tests.spot_cloud import Fault

FAULTS: Final = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.LOST_ANSWER, Fault.THROTTLED, Fault.DENIED)


@dataclass(frozen=True, slots=True)
class _Row:
    fault: Fault
    runs: list[Ran]

    def figures(self) -> Mapping[str, str | int | float]:
        runs = self.runs
        return {
            "calls": len(runs),
            "orphans": sum(len(ran.orphans) for ran in runs),
            "below desired": sum(ran.lowest < 3 for ran in runs),
            "sizes changed": sum(ran.sizes != (1, 3, 3) for ran in runs),
            "processes suspended": sum(bool(ran.suspended) for ran in runs),
            "double launches": sum(max(0, ran.launches - len(ran.outcomes)) for ran in runs),
            "done in the end": sum(ran.spots == 1 for ran in runs),
        }


def measure() -> Mapping[str, Mapping[str, str | int | float]]:
    """The counts, by what went wrong."""
    return {str(fault): _Row(fault, at_each_call(fault)).figures() for fault in FAULTS}


if __name__ == "__main__":
    for name, counts in {**measure(), **apply_kills.measure()}.items():
        click.echo(f"{name:<16} {'  '.join(f'{what} {count}' for what, count in counts.items())}")
