"""What a cell of `headroom tune` must say, by the batch oracle of the job: plain, over lists."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from jobs.settings import Settings
from tests.oracle import Change, act, near_their_limit, plausible, read, without_late


def changes_of(files: Sequence[Sequence[bytes]], settings: Settings) -> list[list[Change]]:
    """The changes of each file, late ones included."""
    tolerance_ms = settings.decode.future_tolerance_ms
    return [plausible(read(records, settings, Counter()), tolerance_ms, Counter()) for records in files]


def cell_of(files: Sequence[Sequence[Change]], settings: Settings) -> dict[str, Any]:
    """The fields of a cell, for the changes of each file."""
    bound_ms = settings.window.out_of_orderness_ms
    near = near_their_limit(
        [change for changes in files for change in without_late(changes, bound_ms, Counter())], settings
    )
    leases: dict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    actions = act(near, settings)
    begun = 0
    for action in actions:
        key = (action["table"], action["partition_key"], action["partition_key_type"])
        start_ms, end_ms = action["issued_at_ms"], action["not_after_ms"]
        if leases[key] and start_ms < leases[key][-1][1]:
            leases[key][-1] = (leases[key][-1][0], end_ms)
        else:
            leases[key].append((start_ms, end_ms))
            begun += 1
    refused = [
        change.wcu
        for changes in files
        for change in changes
        if any(start_ms <= change.at_ms < end_ms for start_ms, end_ms in leases.get(change[:3], ()))
    ]
    suspended = {key[:2] for key in leases}
    return {
        "suspended_keys": len(leases),
        "suspensions": begun,
        "extensions": len(actions) - begun,
        "suspended_ms": sum(end_ms - start_ms for of_key in leases.values() for start_ms, end_ms in of_key),
        "refused_wcu": sum(refused),
        "refused_writes": sum(wcu > 0 for wcu in refused),
        "near_keys": len({(line["table"], line["partition_key"]) for _, line, _ in near} - suspended),
    }
