"""The metrics of a running job as Flink's own REST API tells them, which a reporter sees too."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from connectors.published_metrics import PUBLISHED


def published(address: str) -> dict[str, float]:
    """The newest value of each metric in the published group, added up over subtasks, by what follows the group.

    Raises:
        ValueError: One is not a number, which no reporter can publish.

    Args:
        address: Host and port of the cluster; of all its jobs that run.
    """
    found: dict[str, float] = {}
    for at in _vertices(address):
        names = [each["id"] for each in _answer(address, f"{at}/metrics")]
        ours = [name for name in names if f".{PUBLISHED}." in name]
        for start in range(0, len(ours), 20):
            asked = ",".join(map(quote, ours[start : start + 20]))
            for each in _answer(address, f"{at}/metrics?get={asked}"):
                name = each["id"].partition(f".{PUBLISHED}.")[2]
                found[name] = found.get(name, 0.0) + float(each["value"])
    return found


def _vertices(address: str) -> Iterator[str]:
    for job in _answer(address, "/jobs")["jobs"]:
        if job["status"] == "RUNNING":
            for vertex in _answer(address, f"/jobs/{job['id']}")["vertices"]:
                yield f"/jobs/{job['id']}/vertices/{vertex['id']}"


def _answer(address: str, path: str) -> Any:
    with urlopen(f"http://{address}{path}", timeout=10) as answer:
        return json.load(answer)
