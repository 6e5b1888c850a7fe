"""Between queue and cache, with no job: messages that come twice, too late, in the wrong order or broken."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import boto3
from redis import Redis

from connectors.actions import SuspendAction, encode
from lambdas import local_trigger
from lambdas.suspend.handler import handler
from lambdas.suspend.lease import lease_key
from tests.faults.loop import Loop, Row
from tests.lambdas.suspend_actions import event_of, now_ms, suspend

_PATIENCE_S = 60.0


def between_queue_and_cache(directory: Path) -> list[Row]:
    """A row for each thing that can happen to messages."""
    with Loop(directory) as loop:
        return [
            _row(loop, "a message is delivered twice", _twice),
            _row(loop, "a message is overtaken by a later one of its key", _overtaken),
            _row(loop, "a message comes after its end", _expired),
            _row(loop, "a poison message among ten", _poison),
            _row(loop, "two actuators have one message at once", _two_actuators),
            _row(loop, "everything but Valkey is dead", _all_dead),
        ]


Expected = list[SuspendAction]


def _row(loop: Loop, fault: str, cause: Callable[[Loop], Expected]) -> Row:
    """What came of it: the actions that `cause` gives back should have had their effect, once, and no other."""
    loop.effects.clear()
    began_s = time.monotonic()
    expected = {action.action_id: action for action in cause(loop)}
    deadline_s = time.monotonic() + _PATIENCE_S
    while expected.keys() - {each.action.action_id for each in loop.effects} and time.monotonic() < deadline_s:
        time.sleep(0.05)
    recovery_s = time.monotonic() - began_s
    time.sleep(0.5)  # for what should not come
    ids = [each.action.action_id for each in loop.effects]
    return Row(
        fault,
        actions=len(expected),
        lost=len(expected.keys() - set(ids)),
        duplicate_effects=len(ids) - len(set(ids)),
        wrong=len(set(ids) - expected.keys()),
        stuck=_stuck(loop, list(expected.values())),
        recovery_s=recovery_s,
    )


def _stuck(loop: Loop, actions: list[SuspendAction]) -> int:
    """How many entries are there without an end, or for longer than their lease."""
    owner = Redis(port=loop.cache_port)
    ends = [(action, owner.pexpiretime(lease_key(action.table, action.partition_key))) for action in actions]
    owner.close()
    return sum(not (end_ms == -2 or 0 < end_ms <= action.not_after_ms) for action, end_ms in ends)


def _send(loop: Loop, body: str, group: str, deduplication_id: str) -> None:
    boto3.client("sqs", endpoint_url=loop.endpoint).send_message(
        QueueUrl=loop.queue_url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=deduplication_id
    )


def _send_action(loop: Loop, action: SuspendAction, again: str = "") -> None:
    _send(loop, encode(action).decode(), action.partition_key, action.action_id + again)


def _twice(loop: Loop) -> Expected:
    action = suspend("twice")
    for again in ("", "-again"):
        _send_action(loop, action, again)
    return [action]


def _overtaken(loop: Loop) -> Expected:
    newer, older = suspend("overtaken", decision_seq=2), suspend("overtaken", decision_seq=1)
    _send_action(loop, newer)
    # Emulated queues may swap two messages sent at once, and the fault is that the newer one is first.
    deadline_s = time.monotonic() + _PATIENCE_S
    while all(each.action != newer for each in loop.effects) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    _send_action(loop, older)
    return [newer]


def _expired(loop: Loop) -> Expected:
    _send_action(loop, suspend("expired", issued_at_ms=now_ms() - 120_000))
    fresh = suspend("fresh")
    _send_action(loop, fresh)
    return [fresh]


def _poison(loop: Loop) -> Expected:
    actions = [suspend(f"among-{number}") for number in range(9)]
    for number, action in enumerate(actions):
        if number == 4:
            _send(loop, '{"version": 1, "type": "suspend", "lease_ms": 1e99}', "among-4", "poison")
        _send_action(loop, action)
    return actions


def _two_actuators(loop: Loop) -> Expected:
    action = suspend("twins")
    together = threading.Barrier(2)

    def act() -> None:
        together.wait()
        handler(event_of([action]), local_trigger.LocalContext())  # type: ignore[arg-type]  # as the local trigger does

    threads = [threading.Thread(target=act) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [action]


def _all_dead(loop: Loop) -> Expected:
    actions = [suspend(f"left-{number}", lease_ms=8_000) for number in range(5)]
    for action in actions:
        _send_action(loop, action)
    deadline_s = time.monotonic() + _PATIENCE_S
    while len(loop.effects) < len(actions) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    loop.end_actuators()
    ends_ms = max(action.not_after_ms for action in actions)
    time.sleep(max(0, ends_ms - now_ms()) / 1_000 + 0.5)
    owner = Redis(port=loop.cache_port)
    left = [action for action in actions if owner.exists(lease_key(action.table, action.partition_key))]
    owner.close()
    assert left == []
    return actions
