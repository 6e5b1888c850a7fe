"""A stream that has everything in it, as files in several arrangements, and what the oracle says of it."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet

from jobs.generate import Misbehaving, Profile, SizeRange, records
from jobs.settings import Settings
from jobs.settings.load import parse_settings
from tests.oracle import Judgement, judge

SETTINGS_TOML = """
[limits]
default_wcu = 400
[[limits.rules]]
table = "conversations"
partition_key = "tenant-00000?"
wcu = 700
[[limits.rules]]
table = "sessions"
partition_key = "tenant-000003"
exempt = true
[lease]
steps = ["30s", "1m", "2m"]
decay = "5m"
[tables.conversations]
partition_key = "pk"
[tables.sessions]
transactional = true
"""

PROFILE = Profile(
    records=6_000,
    rate_per_s=12.0,
    tenants=40,
    seed=11,
    misbehaving=(
        Misbehaving("tenant-000021", 60_000, 40_000, 15.0),
        Misbehaving("tenant-000022", 200_000, 30_000, 12.0, (SizeRange(5_000, 9_000),)),
    ),
    disorder_ms=1_900,
    duplicates=0.02,
    late=0.004,
    malformed=0.01,
    microseconds=0.4,
)


def settings(more: str = "") -> Settings:
    """The settings of these tests, with more put before them."""
    return parse_settings((more + SETTINGS_TOML).encode(), "test settings")


def changed_settings(**sections: dict[str, Any]) -> Settings:
    """These settings with some values of their sections changed."""
    values = settings().model_dump()
    return Settings.model_validate(values | {name: values[name] | changed for name, changed in sections.items()})


def stream() -> list[bytes]:
    """The records of the stream, among them changes of keys that begin as a text in another order of bytes would."""
    content = list(records(PROFILE))
    place = next(
        number for number, record in enumerate(content) if number > len(content) // 2 and b'"sessions"' in record[:250]
    )
    at_ms = json.loads(content[place])["dynamodb"]["ApproximateCreationDateTime"]
    content[place:place] = [_heavy_insert(f"{mark}tenant-000001", at_ms) for mark in ("\ufeff", "\ufffe")]
    return content


def _heavy_insert(partition_key: str, at: int) -> bytes:
    """A single write that takes a session's key over its limit."""
    item = {"id": {"S": partition_key}, "body": {"S": "x" * 250_000}}
    change = {"ApproximateCreationDateTime": at, "Keys": {"id": item["id"]}, "NewImage": item}
    fields = {"eventID": f"heavy {partition_key}", "eventName": "INSERT", "tableName": "sessions", "dynamodb": change}
    return json.dumps({"awsRegion": "eu-west-1", **fields}, separators=(",", ":"), ensure_ascii=False).encode()


def write(path: Path, content: Sequence[bytes], *, form: str = "lines") -> Path:
    """A file with these records."""
    match form:
        case "lines":
            path.write_bytes(b"".join(record + b"\n" for record in content))
        case "gzip":
            path.write_bytes(gzip.compress(b"\n".join(content)))
        case "concatenated":
            path.write_bytes(b"".join(content))
        case "parquet":
            pyarrow.parquet.write_table(pyarrow.table({"data": content}), path, row_group_size=500)
    return path


def dealt(content: Sequence[bytes], hands: int, seed: int = 0) -> list[list[bytes]]:
    """The records dealt to several files at random, each in the order in which they came."""
    random = Random(seed)
    files: list[list[bytes]] = [[] for _ in range(hands)]
    for record in content:
        random.choice(files).append(record)
    return files


def told(out: Path, name: str) -> list[dict[str, Any]]:
    """The lines of a result file."""
    return [json.loads(line) for line in (out / name).read_text(encoding="utf-8").splitlines()]


def assert_result_is(judgement: Judgement, out: Path) -> None:
    """A result directory says what the oracle says."""
    assert told(out, "actions.jsonl") == judgement.actions
    assert sorted(map(json.dumps, told(out, "windows.jsonl"))) == sorted(map(json.dumps, judgement.windows))
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert {name: summary[name] for name in judgement.counts} == judgement.counts
    assert len(told(out, "malformed.jsonl")) == judgement.counts["malformed"]
    assert len(told(out, "late.jsonl")) == judgement.counts["late"]


__all__ = ["assert_result_is", "changed_settings", "dealt", "judge", "settings", "stream", "told", "write"]
