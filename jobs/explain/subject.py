"""What is to be explained: a decision or a partition key at some time, found by what a person gives. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from jobs.recorded.distinct import Key
from jobs.report.decisions import Decision

_ID_OR_ITS_BEGINNING: Final = re.compile(r"[0-9a-f]{6,32}")
_MOST_NAMED: Final = 5
_MOST_ALIKE: Final = 3
_MOST_COMPARED: Final = 20_000
_ID_ALIKE: Final = 0.8


class SubjectError(Exception):
    """Nothing or several things are meant; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be explained.

    Attributes:
        decision: None where a key is meant at a time at which no lease of it ran, or that never had one.
        history: All decisions about the key.
        also_in: Other tables that have the same partition key.
    """

    key: Key
    decision: Decision | None
    history: Sequence[Decision]
    also_in: Sequence[str] = ()


def find_subject(
    given: str,
    table: str | None,
    at_ms: int | None,
    decisions: Sequence[Decision],
    keys: Sequence[Key],
    *,
    recorded: bool = True,
) -> Subject:
    """The subject that a person means.

    Args:
        given: An action's identifier, its beginning, or a partition key.
        table: The table of the partition key, where it is in several.
        at_ms: The time of interest; by default that of the first suspension.
        decisions: All decisions, in the order of their times.
        keys: All partition keys of the recording, or of the decisions.
        recorded: Whether there is a recording.

    Raises:
        SubjectError: Nothing or several things are meant.
    """
    by_id = [each for each in decisions if each.action["action_id"].startswith(given)]
    if _ID_OR_ITS_BEGINNING.fullmatch(given) and by_id:
        if len(by_id) > 1:
            ids = ", ".join(each.action["action_id"] for each in by_id[:_MOST_NAMED])
            message = f"{given}: {len(by_id)} decisions begin so: {ids}"
            raise SubjectError(message)
        [decision] = by_id
        return Subject(_key_of(decision), decision, _about(_key_of(decision), decisions))
    key, also_in = _key(given, table, decisions, keys, recorded=recorded)
    history = _about(key, decisions)
    return Subject(key, _decision_at(at_ms, history), history, also_in)


def _key(
    given: str, table: str | None, decisions: Sequence[Decision], keys: Sequence[Key], *, recorded: bool
) -> tuple[Key, Sequence[str]]:
    same = [key for key in keys if key[1] == given]
    if not same:
        message = f"{given!r}: no decision has this identifier, and no change in the recording has this partition key"
        if not recorded:
            message = (
                f"{given!r}: no decision has this identifier or partition key, and without a recording of the time "
            )
            message += "(--recording) nothing else is known"
        message += _alike(given, decisions, keys)
        raise SubjectError(message)
    named = [key for key in same if table in (None, key[0])]
    if not named:
        message = f"{given!r}: not a partition key of table {table!r}; it is one of {_tables(same)}"
        raise SubjectError(message)
    suspended = {_key_of(decision) for decision in decisions}
    chosen = named if len(named) == 1 else [key for key in named if key in suspended]
    if len(chosen) != 1:
        message = f"{given!r}: a partition key of several tables ({_tables(named)}); name one with --table"
        raise SubjectError(message)
    return chosen[0], [key[0] for key in same if key != chosen[0]]


def _alike(given: str, decisions: Sequence[Decision], keys: Sequence[Key]) -> str:
    """What may have been meant."""
    suspended = [_key_of(decision)[1] for decision in decisions]
    ids = [decision.action["action_id"] for decision in decisions]
    if _ID_OR_ITS_BEGINNING.fullmatch(given):
        # Of an identifier people give the beginning.
        near = get_close_matches(given, [each[: len(given)] for each in ids[:_MOST_COMPARED]], 3, _ID_ALIKE)
        meant = [each for each in ids if each[: len(given)] in near]
    else:
        names = list(dict.fromkeys([*suspended, *(key[1] for key in keys)]))[:_MOST_COMPARED]
        inside = [name for name in names if given.casefold() in name.casefold()]
        meant = inside or get_close_matches(given, names, 3)
    return f"; there are {', '.join(meant[:_MOST_ALIKE])}" if meant else ""


def _tables(keys: Sequence[Key]) -> str:
    return ", ".join(key[0] for key in keys)


def _key_of(decision: Decision) -> Key:
    action = decision.action
    return action["table"], action["partition_key"], action["partition_key_type"]


def _about(key: Key, decisions: Sequence[Decision]) -> list[Decision]:
    return [each for each in decisions if _key_of(each) == key]


def _decision_at(at_ms: int | None, history: Sequence[Decision]) -> Decision | None:
    """The decision that holds at a time: the last before it whose lease has not ended."""
    if at_ms is None:
        return history[0] if history else None
    holding = [each for each in history if each.action["issued_at_ms"] <= at_ms < each.action["not_after_ms"]]
    return holding[-1] if holding else None
