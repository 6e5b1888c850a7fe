"""An oracle for the write-capacity job: reads everything, sorts, folds and decides, all in memory.

It shares no code with connectors/ and jobs/ but the values of settings, and is plainly right rather than
fast. What the job writes is compared with what it says.
"""

import base64
import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from statistics import median_high
from typing import Any, NamedTuple

from jobs.settings import LimitsSettings, Settings, WindowSettings

Line = dict[str, Any]


class Ignored(Exception):  # noqa: N818 - an outcome, not an error
    """The record says that it is something else."""


class Change(NamedTuple):
    table: str
    partition_key: str
    partition_key_type: str
    at_ms: int
    wcu: int
    size_matches: bool | None


class StepEnd(NamedTuple):
    """One evaluation of one key, in the order in which evaluations are reported."""

    step_end_ms: int
    table: str
    partition_key: str
    partition_key_type: str
    window_start_ms: int


@dataclass(frozen=True)
class Judgement:
    """`actions` and `windows` as the lines of the job's two files say them, in their order."""

    actions: list[Line]
    windows: list[Line]
    counts: dict[str, int | None]


def judge(files: Iterable[Iterable[bytes]], settings: Settings) -> Judgement:
    """What the job must say of these files, each given as its records in their order."""
    counts: Counter[str] = Counter()
    changes: list[Change] = []
    on_time: list[Change] = []
    for records in files:
        of_file = plausible(read(records, settings, counts), settings.decode.future_tolerance_ms, counts)
        changes += of_file
        on_time += without_late(of_file, settings.window.out_of_orderness_ms, counts)
    near = near_their_limit(on_time, settings)
    windows = [line for _, line, _ in near]
    actions = act(near, settings)
    times = [change.at_ms for change in changes]
    known: dict[str, int | None] = {
        "events": counts["events"],
        "changes": len(changes),
        "malformed": counts["malformed"],
        "ignored": counts["ignored"],
        "late": counts["late"],
        "size_mismatch": sum(change.size_matches is False for change in changes),
        "partition_keys": len({change[:3] for change in changes}),
        "first_event_ms": min(times, default=None),
        "last_event_ms": max(times, default=None),
    }
    return Judgement(actions, windows, known)


def read(records: Iterable[bytes], settings: Settings, counts: Counter[str]) -> list[Change]:
    changes = []
    for record in records:
        counts["events"] += 1
        try:
            changes.append(parse(record, settings))
        except Ignored:
            counts["ignored"] += 1
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
            counts["malformed"] += 1
    return changes


def plausible(changes: Sequence[Change], tolerance_ms: int, counts: Counter[str]) -> list[Change]:
    """The changes of a file but those of wrong clocks: far ahead of all before and most of the next 15."""
    kept: list[Change] = []
    newest_ms = -math.inf
    for place, change in enumerate(changes):
        following_ms = [later.at_ms for later in changes[place + 1 : place + 16]] or [change.at_ms]
        if change.at_ms - max(newest_ms, median_high(following_ms)) > tolerance_ms:
            counts["malformed"] += 1
        else:
            newest_ms = max(newest_ms, change.at_ms)
            kept.append(change)
    return kept


def without_late(changes: Iterable[Change], bound_ms: int, counts: Counter[str]) -> list[Change]:
    on_time = []
    newest_ms = -math.inf
    for change in changes:
        if change.at_ms < newest_ms - bound_ms:
            counts["late"] += 1
        else:
            newest_ms = max(newest_ms, change.at_ms)
            on_time.append(change)
    return on_time


def near_their_limit(changes: Iterable[Change], settings: Settings) -> list[tuple[StepEnd, Line, str]]:
    """Every evaluation at or above the warn level: which, its line, and the rule of its limit."""
    sums: dict[StepEnd, list[int]] = defaultdict(lambda: [0, 0])
    for table, partition_key, key_type, at_ms, wcu, _ in changes:
        for window_start_ms, step_end_ms in evaluations(at_ms, settings.window):
            total = sums[StepEnd(step_end_ms, table, partition_key, key_type, window_start_ms)]
            total[0] += wcu
            total[1] += wcu > 0
    near = []
    for step_end, (consumed_wcu, writes) in sorted(sums.items()):
        limit_wcu, rule = limit_of(step_end.table, step_end.partition_key, settings.limits)
        if limit_wcu is None or consumed_wcu < max(1, math.ceil(Fraction(settings.limits.warn_ratio) * limit_wcu)):
            continue
        line = {
            "table": step_end.table,
            "partition_key": step_end.partition_key,
            "window_start_ms": step_end.window_start_ms,
            "step_end_ms": step_end.step_end_ms,
            "consumed_wcu": consumed_wcu,
            "writes": writes,
            "limit_wcu": limit_wcu,
            "level": "over" if consumed_wcu >= limit_wcu else "warn",
        }
        near.append((step_end, line, rule))
    return near


def evaluations(at_ms: int, window: WindowSettings) -> Iterable[tuple[int, int]]:
    """Start and step end of each evaluation in which a change of this time counts."""
    next_step_end_ms = (at_ms // window.step_ms + 1) * window.step_ms
    if window.kind == "hop":
        for step_end_ms in range(next_step_end_ms, at_ms + window.size_ms + 1, window.step_ms):
            yield step_end_ms - window.size_ms, step_end_ms
    else:
        start_ms = at_ms // window.size_ms * window.size_ms
        for step_end_ms in range(next_step_end_ms, start_ms + window.size_ms + 1, window.step_ms):
            yield start_ms, step_end_ms


def limit_of(table: str, partition_key: str, limits: LimitsSettings) -> tuple[int | None, str]:
    """The limit, None when exempt, and the name of its rule."""
    ranked: list[tuple[int, int, int, int | None, str]] = []
    for place, rule in enumerate(limits.rules):
        if rule.table != table:
            continue
        wcu = None if rule.exempt else rule.wcu
        if rule.partition_key is None:
            ranked.append((0, 0, -place, wcu, table))
        elif matches(rule.partition_key, partition_key):
            literals = len(rule.partition_key.replace("*", "").replace("?", ""))
            ranked.append((1, literals, -place, wcu, f"{table}/{rule.partition_key}"))
    return max(ranked)[3:] if ranked else (limits.default_wcu, "default")


def matches(pattern: str, text: str) -> bool:
    reached = {0}  # how many characters of the text the pattern so far can stand for
    for character in pattern:
        if character == "*":
            reached = set(range(min(reached), len(text) + 1)) if reached else reached
        else:
            reached = {at + 1 for at in reached if at < len(text) and character in ("?", text[at])}
    return len(text) in reached


def act(near: Iterable[tuple[StepEnd, Line, str]], settings: Settings) -> list[Line]:
    steps_ms = settings.lease.steps_ms
    leases: dict[tuple[str, str, str], tuple[int, int, int, int]] = {}
    actions = []
    for (now_ms, *key, window_start_ms), line, rule in near:
        if line["level"] != "over":
            continue
        table, partition_key, key_type = key
        place, end_ms, last_over_ms, seq = leases.get((table, partition_key, key_type), (-1, 0, 0, 0))
        if now_ms >= end_ms:
            decayed = now_ms - max(last_over_ms, end_ms) >= settings.lease.decay_ms
            place = 0 if place < 0 or decayed else min(place + 1, len(steps_ms) - 1)
        elif end_ms > next_in_cache_ms(now_ms, settings.window):
            leases[table, partition_key, key_type] = (place, end_ms, now_ms, seq)
            continue
        lease_ms = steps_ms[place]
        leases[table, partition_key, key_type] = (place, now_ms + lease_ms, now_ms, seq + 1)
        decided = ["suspend", table, partition_key, key_type, window_start_ms, now_ms, lease_ms]
        actions.append(
            {
                "version": 1,
                "type": "suspend",
                "action_id": hashlib.sha256(json.dumps(decided).encode()).hexdigest()[:32],
                "decision_seq": seq + 1,
                "issued_at_ms": now_ms,
                "not_after_ms": now_ms + lease_ms,
                "table": table,
                "partition_key": partition_key,
                "partition_key_type": key_type,
                "lease_ms": lease_ms,
                "evidence": {
                    "window_start_ms": window_start_ms,
                    "window_end_ms": window_start_ms + settings.window.size_ms,
                    "consumed_wcu": line["consumed_wcu"],
                    "writes": line["writes"],
                    "limit_wcu": line["limit_wcu"],
                    "rule": rule,
                },
            }
        )
    return actions


def next_in_cache_ms(step_end_ms: int, window: WindowSettings) -> int:
    """When the decision of the next step can be in the cache: after the disorder, and 1.5 s to deliver it."""
    return step_end_ms + window.step_ms + window.out_of_orderness_ms + 1_500


def parse(record: bytes, settings: Settings) -> Change:
    require(len(record) <= 10 * 2**20)
    fields = json.loads(record.decode(), parse_constant=int)  # int refuses NaN and Infinity
    json.dumps(fields, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
    name, source = fields.get("eventName"), fields.get("eventSource")
    ignore(isinstance(source, str) and source != "aws:dynamodb")
    ignore("detail-type" in fields and "source" in fields and "dynamodb" not in fields)
    ignore(isinstance(name, str) and name not in ("INSERT", "MODIFY", "REMOVE"))
    table, written, user = fields["tableName"], fields["dynamodb"], fields.get("userIdentity")
    require(isinstance(name, str) and isinstance(table, str) and 1 <= len(table) <= 255)
    require(isinstance(source, str | None) and isinstance(fields.get("eventID"), str | None))
    partition_key, transactional = settings_of(table, settings)
    keys_bytes, key, key_type = parse_keys(written["Keys"], partition_key)
    old, new = written.get("OldImage"), written.get("NewImage")
    require({"INSERT": new, "REMOVE": old}.get(name, new if old is None else old) is not None)
    old_bytes, new_bytes = (0 if image is None else weigh_named(image, 1) for image in (old, new))
    size = written.get("SizeBytes")
    require(size is None or (type(size) is int and size >= 0))
    matches_size = None if size is None else size == keys_bytes + old_bytes + new_bytes
    wcu = max(1, math.ceil(max(old_bytes, new_bytes) / 1024)) * (2 if transactional else 1)
    free = name == "REMOVE" and user is not None and is_ttl(user)
    return Change(table, key, key_type, parse_time_ms(written), 0 if free else wcu, matches_size)


def is_ttl(user: Line) -> bool:
    principal = user.get("principalId", user.get("PrincipalId"))
    return bool(user.get("type", user.get("Type")) == "Service" and principal == "dynamodb.amazonaws.com")


def settings_of(table: str, settings: Settings) -> tuple[str | None, bool]:
    of_table = settings.tables.get(table)
    return (of_table.partition_key, of_table.transactional) if of_table else (None, False)


def parse_keys(keys: Any, name_in_settings: str | None) -> tuple[int, str, str]:
    require(1 <= len(keys) <= 2 and all(set(value) <= {"S", "N", "B"} for value in keys.values()))
    value = keys[name_in_settings if len(keys) == 2 else next(iter(keys))]
    require(1 <= weigh(value, 1) <= 2048)
    [(key_type, text)] = value.items()
    return weigh_named(keys, 1), once_decoded(text).decode() if key_type == "B" else text, key_type


def parse_time_ms(written: Line) -> int:
    time, precision = (
        written["ApproximateCreationDateTime"],
        written.get("ApproximateCreationDateTimePrecision"),
    )
    require(type(time) is int and time > 0 and precision in (None, "MILLISECOND", "MICROSECOND"))
    time_ms: int = time // 1000 if precision == "MICROSECOND" or time > 10**14 else time
    require(time_ms < 253_402_300_800_000)  # the year 10000
    return time_ms


def weigh_named(attributes: Line, depth: int) -> int:
    return sum(len(name.encode()) + weigh(value, depth) for name, value in attributes.items())


def weigh(value: Line, depth: int) -> int:
    [(kind, body)] = value.items()
    require(isinstance(body, {"S": str, "N": str, "B": str, "M": dict, "BOOL": bool, "NULL": bool}.get(kind, list)))
    match kind:
        case "S":
            return len(body.encode())
        case "N":
            return weigh_number(body)
        case "B":
            return len(once_decoded(once_decoded(body)))
        case "BOOL" | "NULL":
            return 1
        case "SS" | "NS" | "BS":
            require(body)
            return sum(weigh({kind[0]: member}, depth) for member in body)
        case "M":
            require(depth <= 32)
            return 3 + len(body) + weigh_named(body, depth + 1)
        case "L":
            require(depth <= 32)
            return 3 + len(body) + sum(weigh(element, depth + 1) for element in body)
    raise ValueError


def once_decoded(text: str | bytes) -> bytes:
    return base64.b64decode(text, validate=True)


def weigh_number(text: str) -> int:
    require(re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text))
    number = Decimal(text)
    if not number:
        return 1
    significant = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    highest = number.adjusted()
    lowest = highest - len(significant) + 1
    require(len(significant) <= 38 and -130 <= highest <= 125)
    return (highest // 2 - lowest // 2 + 1) + 1 + number.is_signed()


def require(holds: object) -> None:
    if not holds:
        raise ValueError


def ignore(holds: bool) -> None:
    if holds:
        raise Ignored
