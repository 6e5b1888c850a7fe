"""The metrics of a running job as Flink's own REST API tells them, which a reporter sees too."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from pyflink.util.java_utils import get_j_env_configuration

from connectors.published_metrics import PUBLISHED
from jobs.runtime import Environment
from jobs.up.services import free_port

_OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def documented(heading: str) -> set[str]:
    """The names in the tables below a heading of the operations guide."""
    section = re.split(r"^#+ ", _OPERATIONS.partition(f"\n### {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    names = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert names, heading
    return names


def names_of(found: dict[str, float]) -> set[str]:
    """The last part of each name, which is what CloudWatch calls it."""
    return {name.rpartition(".")[2] for name in found}


def with_rest(environment: Environment) -> str:
    """The address at which the mini-cluster of an environment will answer, and tell metrics not older than a second."""
    address = f"127.0.0.1:{free_port()}"
    configuration = get_j_env_configuration(environment.streams._j_stream_execution_environment)
    configuration.setString("rest.bind-port", address.rpartition(":")[2])
    configuration.setString("metrics.fetcher.update-interval", "500 ms")
    return address


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
