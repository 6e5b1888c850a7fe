import json
import string
from dataclasses import fields as fields_of
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.actions import MAX_MESSAGE_BYTES, MalformedActionError, UnknownActionError
from connectors.ec2.events import InstanceAction, InstanceState
from connectors.spot_action_messages import decode, encode
from connectors.spot_actions import (
    FallBack,
    FallBackEvidence,
    ReplaceEvidence,
    ReplaceInstance,
    ReturnEvidence,
    ReturnToSpot,
    SpotAction,
    SpotActionType,
    pool_action_id,
    replace_action_id,
)

ISSUED: dict[str, Any] = {
    "action_id": "0123456789abcdef0123456789abcdef",
    "issued_at_ms": 1_773_500_966_000,
    "not_after_ms": 1_773_501_866_000,
    "account": "604418233907",
    "region": "eu-west-1",
}
POOL: dict[str, Any] = {"instance_type": "m7g.2xlarge", "zone": "eu-west-1b"}
REPLACE = ReplaceInstance(
    **ISSUED,
    instance_id="i-0004be7a92c1d03f5",
    evidence=ReplaceEvidence(
        announced=True,
        event_id="9d0f6c51-2b7e-4c1a-8a35-6f1e7b0c4401",
        instance_action=InstanceAction.TERMINATE,
        warned_at_ms=1_773_500_966_000,
        rebalanced_at_ms=1_773_499_862_000,
        state=None,
        state_at_ms=None,
    ),
)
UNANNOUNCED = replace(
    REPLACE,
    evidence=ReplaceEvidence(
        announced=False,
        event_id="9d0f6c51-2b7e-4c1a-8a35-6f1e7b0c4403",
        instance_action=None,
        warned_at_ms=None,
        rebalanced_at_ms=None,
        state=InstanceState.SHUTTING_DOWN,
        state_at_ms=1_773_501_091_000,
    ),
)
FALL_BACK = FallBack(
    **ISSUED,
    **POOL,
    evidence=FallBackEvidence(
        suspect_since_ms=1_773_500_246_000,
        interruptions=3,
        capacity_errors=1,
        rebalances=4,
        unhealthy_since_ms=None,
        placement_score=2,
        fall_backs=1,
        pinned=False,
    ),
)
RETURN = ReturnToSpot(
    **ISSUED,
    **POOL,
    evidence=ReturnEvidence(fell_back_at_ms=1_773_490_000_000, good_scores=2, placement_score=7, by_hand=False),
)
ACTIONS: dict[str, SpotAction] = {
    "replace": REPLACE,
    "unannounced": UNANNOUNCED,
    "fall back": FALL_BACK,
    "return": RETURN,
}
START = (
    '"action_id": "0123456789abcdef0123456789abcdef", "issued_at_ms": 1773500966000, "not_after_ms": 1773501866000, '
    '"account": "604418233907", "region": "eu-west-1", '
)
MESSAGES = {
    "replace": '{"version": 1, "type": "replace_instance", ' + START + '"instance_id": "i-0004be7a92c1d03f5", '
    '"evidence": {"announced": true, "event_id": "9d0f6c51-2b7e-4c1a-8a35-6f1e7b0c4401", '
    '"instance_action": "terminate", "warned_at_ms": 1773500966000, "rebalanced_at_ms": 1773499862000, '
    '"state": null, "state_at_ms": null}}',
    "unannounced": '{"version": 1, "type": "replace_instance", ' + START + '"instance_id": "i-0004be7a92c1d03f5", '
    '"evidence": {"announced": false, "event_id": "9d0f6c51-2b7e-4c1a-8a35-6f1e7b0c4403", '
    '"instance_action": null, "warned_at_ms": null, "rebalanced_at_ms": null, '
    '"state": "shutting-down", "state_at_ms": 1773501091000}}',
    "fall back": '{"version": 1, "type": "fall_back", ' + START + '"instance_type": "m7g.2xlarge", '
    '"zone": "eu-west-1b", "evidence": {"suspect_since_ms": 1773500246000, "interruptions": 3, '
    '"capacity_errors": 1, "rebalances": 4, "unhealthy_since_ms": null, "placement_score": 2, "fall_backs": 1, '
    '"pinned": false}}',
    "return": '{"version": 1, "type": "return_to_spot", ' + START + '"instance_type": "m7g.2xlarge", '
    '"zone": "eu-west-1b", "evidence": {"fell_back_at_ms": 1773490000000, "good_scores": 2, "placement_score": 7, '
    '"by_hand": false}}',
}
NULLABLE = {
    "instance_action",
    "warned_at_ms",
    "rebalanced_at_ms",
    "state",
    "state_at_ms",
    "unhealthy_since_ms",
    "placement_score",
}
PATHS = [
    (name, path)
    for name, message in MESSAGES.items()
    for path in [*json.loads(message), *(f"evidence.{field}" for field in json.loads(message)["evidence"])]
]
REMOVED = object()
times = st.integers(0, 2**50)
counts = st.integers(0, 2**40)
scores = st.integers(1, 10)


def message_with(name: str, path: str, value: object) -> bytes:
    """A good message with one field changed, in `evidence` where the path begins with it."""
    fields = json.loads(MESSAGES[name])
    *parents, last = path.split(".")
    target = fields
    for parent in parents:
        target = target[parent]
    if value is REMOVED:
        del target[last]
    else:
        target[last] = value
    return json.dumps(fields).encode()


@st.composite
def issued(draw: st.DrawFn) -> dict[str, Any]:
    issued_at_ms = draw(times)
    return {
        "action_id": draw(st.text("0123456789abcdef", min_size=32, max_size=32)),
        "issued_at_ms": issued_at_ms,
        "not_after_ms": issued_at_ms + draw(counts),
        "account": draw(st.text(string.digits, min_size=12, max_size=12)),
        "region": draw(st.sampled_from(["eu-west-1", "us-gov-east-1", "ap-southeast-4"])),
    }


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "instance_type": draw(st.sampled_from(["t3.nano", "m7g.metal-48xl", "u-6tb1.112xlarge"])),
        "zone": draw(st.sampled_from(["eu-west-1a", "us-west-2-lax-1a", "us-east-1-wl1-bos-wlz-1"])),
    }


event_ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)
ends = st.tuples(st.sampled_from([InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED]), times)


@st.composite
def replacements(draw: st.DrawFn) -> ReplaceInstance:
    announced = draw(st.booleans())
    warned = draw(st.tuples(st.sampled_from(InstanceAction), times)) if announced else (None, None)
    state, state_at_ms = draw(ends if not announced else st.just((None, None)) | ends)
    return ReplaceInstance(
        **draw(issued()),
        instance_id=draw(st.sampled_from(["i-", "i-012345678"])) + f"{draw(st.integers(0, 2**32 - 1)):08x}",
        evidence=ReplaceEvidence(
            announced=announced,
            event_id=draw(event_ids),
            instance_action=warned[0],
            warned_at_ms=warned[1],
            rebalanced_at_ms=draw(st.none() | times),
            state=state,
            state_at_ms=state_at_ms,
        ),
    )


fall_backs = st.builds(
    lambda issued, pool, evidence: FallBack(**issued, **pool, evidence=evidence),
    issued(),
    pools(),
    st.builds(
        FallBackEvidence,
        suspect_since_ms=times,
        interruptions=counts,
        capacity_errors=counts,
        rebalances=counts,
        unhealthy_since_ms=st.none() | times,
        placement_score=st.none() | scores,
        fall_backs=st.integers(1, 100),
        pinned=st.booleans(),
    ),
)
returns = st.builds(
    lambda issued, pool, at_ms, count, score: ReturnToSpot(
        **issued,
        **pool,
        evidence=ReturnEvidence(fell_back_at_ms=at_ms, good_scores=count, placement_score=score, by_hand=score is None),
    ),
    issued(),
    pools(),
    times,
    counts,
    st.none() | scores,
)
actions = replacements() | fall_backs | returns


@pytest.mark.parametrize("name", ACTIONS)
def test_encode_gives_the_documented_bytes_and_decode_the_action_back(name: str) -> None:
    assert encode(ACTIONS[name]).decode() == MESSAGES[name]
    assert decode(MESSAGES[name].encode()) == ACTIONS[name]


def test_every_type_of_action_is_documented() -> None:
    assert {type(action) for action in ACTIONS.values()} == set(get_args(SpotAction))
    assert {json.loads(message)["type"] for message in MESSAGES.values()} == set(SpotActionType)


def test_every_action_about_an_instance_names_it() -> None:
    assert "instance_id" in {field.name for field in fields_of(ReplaceInstance)}
    for kind in (FallBack, ReturnToSpot):
        assert {"instance_type", "zone"} <= {field.name for field in fields_of(kind)}


@given(actions)
def test_encode_and_decode_are_inverse(action: SpotAction) -> None:
    message = encode(action)
    assert decode(message) == action
    assert encode(decode(message)) == message


@given(actions)
def test_a_message_is_one_line_of_ascii_that_any_json_reader_takes(action: SpotAction) -> None:
    message = encode(action)
    assert b"\n" not in message
    assert json.loads(message.decode("ascii"))["version"] == 1
    assert len(message) < MAX_MESSAGE_BYTES


def test_the_size_limit_is_64_kib_and_included() -> None:
    largest = MESSAGES["replace"].encode().ljust(MAX_MESSAGE_BYTES)
    assert decode(largest) == REPLACE
    with pytest.raises(MalformedActionError, match="65,537 bytes"):
        decode(largest + b" ")
    with pytest.raises(MalformedActionError, match="are more than 65,536"):
        encode(replace(REPLACE, region="r" * MAX_MESSAGE_BYTES))


def test_whitespace_and_order_are_free() -> None:
    fields = json.loads(MESSAGES["fall back"])
    assert decode(json.dumps(dict(reversed(fields.items())), indent=1).encode()) == FALL_BACK


@pytest.mark.parametrize("version", [0, 2, -1])
def test_another_version_is_unknown_whatever_else_it_carries(version: int) -> None:
    with pytest.raises(UnknownActionError, match=f"version {version}"):
        decode(message_with("replace", "version", version))
    with pytest.raises(UnknownActionError):
        decode(b'{"version": 2, "type": "replace_instance", "reason": "a field of the future"}')


@pytest.mark.parametrize("action_type", ["suspend", "REPLACE_INSTANCE", "terminate_instance"])
def test_another_type_is_unknown(action_type: str) -> None:
    with pytest.raises(UnknownActionError, match=repr(action_type)):
        decode(message_with("replace", "type", action_type))


GOOD = MESSAGES["replace"].encode()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        GOOD[:-1],
        GOOD + GOOD,
        GOOD.replace(b"eu-west-1", b"eu-west-\xff"),
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"1773499862000", b"NaN"),
        GOOD.replace(b"1773499862000", b"9" * 5_000),
        GOOD.replace(b'"account"', b'"region": "eu-west-1", "account"'),
        GOOD.replace(b'"state": null', b'"state": null, "state": null'),
        b"[" * 60_000,
        b'{"a":' * 10_000,
    ],
    ids=[
        "empty",
        "null",
        "array",
        "empty object",
        "cut",
        "two messages",
        "invalid UTF-8",
        "byte order mark",
        "NaN",
        "5000 digits",
        "repeated field",
        "repeated field in evidence",
        "deep arrays",
        "deep objects",
    ],
)
def test_what_is_no_action_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedActionError):
        decode(message)


@pytest.mark.parametrize(("name", "path"), PATHS)
def test_no_field_may_be_missing_or_of_another_type(name: str, path: str) -> None:
    for value in (REMOVED, [], {}, 1.5, ""):
        with pytest.raises((MalformedActionError, UnknownActionError)):
            decode(message_with(name, path, value))


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, path in PATHS if path.removeprefix("evidence.") not in NULLABLE]
)
def test_what_must_be_known_is_not_null(name: str, path: str) -> None:
    with pytest.raises(MalformedActionError):
        decode(message_with(name, path, None))


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("path", ["reason", "evidence.reason"])
def test_unknown_fields_are_refused_by_name(name: str, path: str) -> None:
    with pytest.raises(MalformedActionError, match="'reason'"):
        decode(message_with(name, path, 1))


@pytest.mark.parametrize(
    ("name", "path", "least", "most"),
    [
        ("replace", "not_after_ms", 1_773_500_966_000, 2**53 - 1),
        ("fall back", "evidence.interruptions", 0, 2**53 - 1),
        ("fall back", "evidence.capacity_errors", 0, 2**53 - 1),
        ("fall back", "evidence.rebalances", 0, 2**53 - 1),
        ("fall back", "evidence.fall_backs", 1, 2**53 - 1),
        ("fall back", "evidence.placement_score", 1, 10),
        ("return", "evidence.placement_score", 1, 10),
        ("return", "evidence.good_scores", 0, 2**53 - 1),
    ],
)
def test_numbers_have_a_smallest_and_a_largest_value(name: str, path: str, least: int, most: int) -> None:
    for allowed in (least, least + 1, most):
        message = message_with(name, path, allowed)
        assert encode(decode(message)) == message
    for refused in (least - 1, most + 1):
        with pytest.raises(MalformedActionError, match=path):
            decode(message_with(name, path, refused))


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("replace", "action_id", "0" * 31),
        ("replace", "action_id", "A" * 32),
        ("replace", "account", "60441823390"),
        ("replace", "region", "everywhere"),
        ("replace", "instance_id", "i-0123"),
        ("replace", "instance_id", "i-0004be7a92c1d03f5 i-7c3e90ab"),
        ("replace", "evidence.instance_action", "reboot"),
        ("replace", "evidence.event_id", "x" * 129),
        ("unannounced", "evidence.state", "gone"),
        ("fall back", "instance_type", "large"),
        ("fall back", "instance_type", "m7g.2xlarge;rm"),
        ("return", "zone", "eu"),
        ("return", "evidence.by_hand", 0),
    ],
)
def test_what_identifies_something_has_its_form(name: str, path: str, value: object) -> None:
    with pytest.raises(MalformedActionError, match=path):
        decode(message_with(name, path, value))


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("replace", "evidence.announced", False),
        ("replace", "evidence.instance_action", None),
        ("replace", "evidence.warned_at_ms", None),
        ("replace", "evidence.state_at_ms", 1_773_501_091_000),
        ("unannounced", "evidence.announced", True),
        ("unannounced", "evidence.state_at_ms", None),
        ("unannounced", "evidence.state", None),
        ("unannounced", "evidence.state", "running"),
        ("return", "evidence.by_hand", True),
        ("return", "evidence.placement_score", None),
    ],
)
def test_evidence_does_not_contradict_itself(name: str, path: str, value: object) -> None:
    with pytest.raises(MalformedActionError, match="evidence"):
        decode(message_with(name, path, value))


def test_unannounced_needs_an_end() -> None:
    without_end = replace(UNANNOUNCED, evidence=replace(UNANNOUNCED.evidence, state=None, state_at_ms=None))
    with pytest.raises(MalformedActionError, match="only unannounced needs an end"):
        decode(encode(without_end))


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_refused(message: bytes) -> None:
    with pytest.raises((MalformedActionError, UnknownActionError)):
        decode(message)


@given(st.sampled_from(sorted(MESSAGES)), st.data())
def test_a_damaged_message_is_refused_or_still_a_valid_action(name: str, data: st.DataObject) -> None:
    good = MESSAGES[name].encode()
    position = data.draw(st.integers(0, len(good) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=3))
    try:
        action = decode(good[:position] + damage + good[position + len(damage) :])
    except (MalformedActionError, UnknownActionError):
        return
    assert decode(encode(action)) == action


INTERRUPTION: dict[str, Any] = {
    "account": "604418233907",
    "region": "eu-west-1",
    "instance_id": "i-0004be7a92c1d03f5",
    "restarted_at_ms": None,
}
DECIDED: dict[str, Any] = {
    "account": "604418233907",
    "region": "eu-west-1",
    "instance_type": "m7g.2xlarge",
    "zone": "eu-west-1b",
    "issued_at_ms": 1_773_500_966_000,
}


def test_an_action_id_is_the_same_in_every_process() -> None:
    assert replace_action_id(**INTERRUPTION) == "d61f3abd9c360810d1e5291c0256a900"
    assert pool_action_id(SpotActionType.FALL_BACK, **DECIDED) == "f73e0a72536926eb66eb77913d785e74"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account", "604418233908"),
        ("region", "eu-west-2"),
        ("instance_id", "i-7c3e90ab"),
        ("restarted_at_ms", 0),
    ],
)
def test_another_interruption_has_another_action_id(name: str, value: object) -> None:
    assert replace_action_id(**INTERRUPTION | {name: value}) != replace_action_id(**INTERRUPTION)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account", "604418233908"),
        ("region", "eu-west-2"),
        ("instance_type", "m7g.xlarge"),
        ("zone", "eu-west-1a"),
        ("issued_at_ms", 1_773_500_966_001),
    ],
)
def test_another_decision_about_a_pool_has_another_action_id(name: str, value: object) -> None:
    fall_back, other = SpotActionType.FALL_BACK, DECIDED | {name: value}
    assert pool_action_id(fall_back, **other) != pool_action_id(fall_back, **DECIDED)
    assert pool_action_id(fall_back, **DECIDED) != pool_action_id(SpotActionType.RETURN_TO_SPOT, **DECIDED)
