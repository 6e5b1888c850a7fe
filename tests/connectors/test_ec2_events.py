import json
import re
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ec2.events import (
    ActivityKind,
    Event,
    GroupActivity,
    HealthStatus,
    Ignored,
    InstanceAction,
    InstanceState,
    InterruptionWarning,
    LifecycleAction,
    LifecycleTransition,
    Malformed,
    NotificationTest,
    Place,
    RebalanceRecommendation,
    ScheduledChange,
    SpotRequestFulfillment,
    StateChange,
)
from connectors.ec2.parse import MAX_EVENT_BYTES, parse_event
from connectors.fields import MAX_NESTING

EVENTS = Path(__file__).parents[1] / "events" / "ec2"
NAMES = sorted(path.stem for path in EVENTS.glob("*.json"))
MISSPELT = "state_change_instance_id_misspelt"
WELL_FORMED = [name for name in NAMES if name != MISSPELT]
REMOVED = object()

ACCOUNT, REGION = "604418233907", "eu-west-1"
SPOT_INSTANCE, OTHER_INSTANCE, LAUNCHED = "i-0004be7a92c1d03f5", "i-7c3e90ab", "i-0009ad3370e82b6c1"
GROUP, HOOK, TOKEN = "inbox-workers", "drain-inbox", "c2a8d6a3-5e0b-4f0d-8d1c-70e7a1b3f6d9"
HEALTH_EVENT = (
    "arn:aws:health:eu-west-1::event/EC2/AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED/"
    "AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED-7f3c"
)
REBOOT = "AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED"


def envelope(last: str, at_ms: int) -> dict[str, Any]:
    event_id = f"9d0f6c51-2b7e-4c1a-8a35-6f1e7b0c44{last}"
    return {"event_id": event_id, "account": ACCOUNT, "region": REGION, "at_ms": at_ms}


LAUNCH = GroupActivity(
    **envelope("07", 1_773_501_280_000),
    kind=ActivityKind.LAUNCH,
    successful=True,
    group=GROUP,
    instance_id=LAUNCHED,
    started_at_ms=1_773_501_242_318,
    zone="eu-west-1b",
    destination=Place.AUTO_SCALING_GROUP,
    status_message="",
)
TERMINATE_HOOK = LifecycleAction(
    **envelope("0c", 1_773_514_972_000),
    group=GROUP,
    instance_id=LAUNCHED,
    transition=LifecycleTransition.TERMINATING,
    hook=HOOK,
    token=TOKEN,
    origin=None,
    destination=None,
)
TOLD: dict[str, Event] = {
    "interruption_warning": InterruptionWarning(
        **envelope("01", 1_773_500_966_000), instance_id=SPOT_INSTANCE, instance_action=InstanceAction.TERMINATE
    ),
    "rebalance_recommendation": RebalanceRecommendation(**envelope("02", 1_773_499_862_000), instance_id=SPOT_INSTANCE),
    "state_change_shutting_down": StateChange(
        **envelope("03", 1_773_501_091_000), instance_id=SPOT_INSTANCE, state=InstanceState.SHUTTING_DOWN
    ),
    "state_change_running": StateChange(
        **envelope("04", 1_773_384_018_000), instance_id=OTHER_INSTANCE, state=InstanceState.RUNNING
    ),
    "spot_request_fulfillment": SpotRequestFulfillment(
        **envelope("06", 1_773_383_995_000), instance_id=SPOT_INSTANCE, spot_request_id="sir-k7m2q9xw"
    ),
    "launch_successful": LAUNCH,
    "launch_unsuccessful_no_instance": replace(
        LAUNCH,
        **envelope("08", 1_773_501_190_000),
        successful=False,
        instance_id=None,
        started_at_ms=1_773_501_190_902,
        destination=None,
        status_message="There is no Spot capacity available that matches your request. Launching EC2 instance failed.",
    ),
    "terminate_successful": replace(
        LAUNCH,
        **envelope("09", 1_773_515_028_115),
        kind=ActivityKind.TERMINATE,
        started_at_ms=1_773_514_971_446,
        destination=Place.EC2,
    ),
    "terminate_unsuccessful": replace(
        LAUNCH,
        **envelope("0a", 1_773_515_028_000),
        kind=ActivityKind.TERMINATE,
        successful=False,
        started_at_ms=1_773_514_971_446,
        zone=None,
        destination=None,
        status_message="The instance may not be terminated: its disableApiTermination attribute is true.",
    ),
    "launch_lifecycle_action_to_warm_pool": replace(
        TERMINATE_HOOK,
        **envelope("0b", 1_773_501_245_207),
        transition=LifecycleTransition.LAUNCHING,
        hook="wait-for-warm-cache",
        origin=Place.EC2,
        destination=Place.WARM_POOL,
    ),
    "terminate_lifecycle_action": TERMINATE_HOOK,
    "terminate_lifecycle_notification": replace(
        TERMINATE_HOOK,
        event_id="8e5f1b7c-0f3a-4dce-a2f9-1b4f0c9a77d2",
        region=None,
        at_ms=1_773_514_972_031,
        origin=Place.AUTO_SCALING_GROUP,
        destination=Place.EC2,
    ),
    "test_notification": NotificationTest(
        event_id="51d0c9b8-1f6e-11f1-9a2b-4d5c6e7f8091", account=ACCOUNT, at_ms=1_772_357_400_420, group=GROUP
    ),
    "scheduled_change": ScheduledChange(
        **envelope("0d", 1_772_439_300_000),
        health_event=HEALTH_EVENT,
        event_type=REBOOT,
        status=None,
        starts_at_ms=1_772_575_200_000,
        ends_at_ms=1_772_582_400_000,
        instance_ids=(SPOT_INSTANCE, OTHER_INSTANCE),
    ),
    "scheduled_change_of_organization": ScheduledChange(
        **envelope("0e", 1_772_439_390_000),
        health_event=HEALTH_EVENT,
        event_type=REBOOT,
        status=HealthStatus.UPCOMING,
        starts_at_ms=1_772_575_200_000,
        ends_at_ms=None,
        instance_ids=(OTHER_INSTANCE,),
    ),
}


def message(name: str, **changes: Any) -> bytes:
    """A recorded event with fields changed, those of `detail` by a name such as detail__state."""
    event = json.loads((EVENTS / f"{name}.json").read_bytes())
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = event
        for parent in parents:
            target = target[parent]
        last = last.replace("_", "-") if last not in target else last
        if value is REMOVED:
            del target[last]
        else:
            target[last] = value
    return json.dumps(event).encode()


def reason(raw: bytes) -> str:
    found = parse_event(raw)
    assert isinstance(found, Malformed), found
    return found.reason


def ignored(raw: bytes) -> str:
    found = parse_event(raw)
    assert isinstance(found, Ignored), found
    return found.reason


@pytest.mark.parametrize("name", WELL_FORMED)
def test_every_recorded_event_is_told_in_full(name: str) -> None:
    assert parse_event((EVENTS / f"{name}.json").read_bytes()) == TOLD[name]


def test_every_kind_of_event_has_a_recorded_one() -> None:
    assert {type(event) for event in TOLD.values()} == set(get_args(Event))


@pytest.mark.parametrize("name", WELL_FORMED)
def test_the_resources_are_never_looked_at(name: str) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_bytes())
    for resources in (REMOVED, None, [], ["arn:aws:ec2:nowhere"], "no list", {"a": [1]}):
        changed = {key: value for key, value in event.items() if key != "resources"}
        if resources is not REMOVED:
            changed["resources"] = resources
        assert parse_event(json.dumps(changed).encode()) == TOLD[name]


@pytest.mark.parametrize("name", WELL_FORMED)
def test_fields_that_aws_adds_change_nothing(name: str) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_bytes())
    event["replay-name"] = "last-night"
    event.get("detail", event)["A field of the future"] = [{"deep": None}]
    assert parse_event(json.dumps(event).encode()) == TOLD[name]


def test_an_instance_id_under_another_name_is_missing_and_the_reason_says_which() -> None:
    found = parse_event((EVENTS / f"{MISSPELT}.json").read_bytes())
    assert found == Malformed(
        reason="detail.instance-id is missing; there is 'instance_id'",
        source="aws.ec2",
        detail_type="EC2 Instance State-change Notification",
        event_id="9d0f6c51-2b7e-4c1a-8a35-6f1e7b0c4405",
        at_ms=1_773_501_127_000,
    )


@pytest.mark.parametrize("name", [name for name in WELL_FORMED if "notification" not in name])
@pytest.mark.parametrize("field", ["id", "account", "time", "region", "detail"])
def test_nothing_in_the_envelope_may_be_missing_or_of_another_type(name: str, field: str) -> None:
    for value in (REMOVED, None, 7, True, "", [], {}):
        assert reason(message(name, **{field: value})).split()[0].split(".")[0] == field


@pytest.mark.parametrize("field", ["source", "detail_type"])
@pytest.mark.parametrize("value", [REMOVED, None, 7, "", []], ids=["removed", "null", "number", "empty", "array"])
def test_an_event_says_of_what_kind_it_is(field: str, value: object) -> None:
    assert reason(message("interruption_warning", **{field: value})).startswith(field.replace("_", "-"))


REQUIRED_IN_DETAIL = {
    "interruption_warning": ["instance-id", "instance-action"],
    "rebalance_recommendation": ["instance-id"],
    "state_change_running": ["instance-id", "state"],
    "spot_request_fulfillment": ["instance-id", "spot-instance-request-id"],
    "launch_successful": ["AutoScalingGroupName", "EC2InstanceId"],
    "launch_unsuccessful_no_instance": ["AutoScalingGroupName", "EC2InstanceId"],
    "terminate_lifecycle_action": [
        "AutoScalingGroupName",
        "EC2InstanceId",
        "LifecycleTransition",
        "LifecycleHookName",
        "LifecycleActionToken",
    ],
    "scheduled_change": ["eventArn", "service", "eventTypeCode", "eventTypeCategory", "startTime"],
}


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, names in REQUIRED_IN_DETAIL.items() for field in names]
)
def test_no_field_that_is_needed_may_be_missing_or_of_another_type(name: str, field: str) -> None:
    for value in (REMOVED, None, 7, True, [], {}):
        assert reason(message(name, **{f"detail__{field}": value})).startswith(f"detail.{field} ")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("launch_successful", "StartTime", "yesterday"),
        ("launch_successful", "Details", "eu-west-1b"),
        ("launch_successful", "Destination", "Elsewhere"),
        ("launch_successful", "StatusMessage", 7),
        ("launch_successful", "AutoScalingGroupName", "g" * 256),
        ("scheduled_change", "endTime", "2026-03-04T00:00:00Z"),
        ("scheduled_change_of_organization", "statusCode", "postponed"),
        ("scheduled_change_of_organization", "affectedAccount", "137-520"),
        ("scheduled_change_of_organization", "eventRegion", "global"),
        ("scheduled_change", "affectedEntities", {"entityValue": OTHER_INSTANCE}),
        ("scheduled_change", "affectedEntities", [OTHER_INSTANCE]),
        ("scheduled_change", "affectedEntities", [{"entityvalue": OTHER_INSTANCE}]),
        ("scheduled_change", "affectedEntities", [{"entityValue": OTHER_INSTANCE}, {"entityValue": "i-unknown"}]),
    ],
)
def test_what_need_not_be_there_is_right_where_it_is(name: str, field: str, value: object) -> None:
    assert reason(message(name, **{f"detail__{field}": value})).startswith(f"detail.{field}")


@pytest.mark.parametrize("field", ["StartTime", "Details", "Destination", "StatusMessage"])
@pytest.mark.parametrize("value", [REMOVED, None], ids=["removed", "null"])
def test_what_need_not_be_there_may_be_missing(field: str, value: object) -> None:
    found = parse_event(message("launch_successful", **{f"detail__{field}": value}))
    changed = {
        "StartTime": replace(LAUNCH, started_at_ms=None),
        "Details": replace(LAUNCH, zone=None),
        "Destination": replace(LAUNCH, destination=None),
        "StatusMessage": LAUNCH,
    }
    assert found == changed[field]


@pytest.mark.parametrize("zone", [REMOVED, None, ""], ids=["removed", "null", "empty"])
def test_an_activity_may_have_no_zone(zone: object) -> None:
    raw = message("launch_successful", **{"detail__Details__Availability Zone": zone})
    assert parse_event(raw) == replace(LAUNCH, zone=None)


@pytest.mark.parametrize("zone", ["us-west-2-lax-1a", "us-east-1-wl1-bos-wlz-1", "us-gov-east-1a"])
def test_zones_of_every_kind_are_zones(zone: str) -> None:
    raw = message("launch_successful", **{"detail__Details__Availability Zone": zone})
    assert parse_event(raw) == replace(LAUNCH, zone=zone)


@pytest.mark.parametrize(
    "instance_id",
    ["i-0123456", "i-012345678", "i-0123456789abcdef", "i-0123456789abcdef01", "i-0123456g", "I-01234567"],
    ids=["7 digits", "9 digits", "16 digits", "18 digits", "not hexadecimal", "capital"],
)
def test_an_instance_id_has_8_or_17_hexadecimal_digits(instance_id: str) -> None:
    assert "is not an instance id" in reason(message("state_change_running", **{"detail__instance-id": instance_id}))


@pytest.mark.parametrize("instance_id", ["i-01234567\n", " i-01234567", "arn:aws:ec2:eu-west-1::instance/i-01234567"])
def test_an_instance_id_is_nothing_more(instance_id: str) -> None:
    assert "is not an instance id" in reason(message("state_change_running", **{"detail__instance-id": instance_id}))


@pytest.mark.parametrize("instance_id", ["i-01234567", "i-0123456789abcdef0"], ids=["8 digits", "17 digits"])
def test_instance_ids_old_and_new_are_taken(instance_id: str) -> None:
    found = parse_event(message("state_change_running", **{"detail__instance-id": instance_id}))
    assert isinstance(found, StateChange)
    assert found.instance_id == instance_id


@pytest.mark.parametrize("account", ["60441823390", "6044182339070", "60441823390x", "٦٠٤٤١٨٢٣٣٩٠٧"])
def test_an_account_has_12_digits(account: str) -> None:
    assert reason(message("interruption_warning", account=account)).startswith("account is not an account of 12 digits")


@pytest.mark.parametrize("region", ["eu-west", "eu_west_1", "EU-WEST-1", "eu-west-1b", "*", "eu-west-1/../x"])
def test_a_region_has_the_form_of_a_region(region: str) -> None:
    assert reason(message("interruption_warning", region=region)).startswith("region is not a Region")


@pytest.mark.parametrize("region", ["us-gov-west-1", "cn-north-1", "us-isob-east-1", "eusc-de-east-1"])
def test_regions_of_every_partition_are_regions(region: str) -> None:
    found = parse_event(message("interruption_warning", region=region))
    assert isinstance(found, InterruptionWarning)
    assert found.region == region


@pytest.mark.parametrize(
    ("time", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-14T15:09:26.535Z", 1_773_500_966_535),
        ("2026-03-14T15:09:26.5359999Z", 1_773_500_966_535),
        ("2026-03-14T16:09:26+01:00", 1_773_500_966_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
    ],
)
def test_times_are_milliseconds_since_1970(time: str, at_ms: int) -> None:
    found = parse_event(message("interruption_warning", time=time))
    assert isinstance(found, InterruptionWarning)
    assert found.at_ms == at_ms


@pytest.mark.parametrize(
    "time",
    [
        "1969-12-31T23:59:59Z",
        "2026-03-14T15:09:26",
        "2026-03-14 15:09:26Z",
        "2026-02-29T00:00:00Z",
        "2026-03-14T24:00:00Z",
        "2026-03-14T15:09:60Z",
        "2026-W11-6T15:09:26Z",
        "20260314T150926Z",
        "1773500966",
        "yyyy-mm-ddThh:mm:ssZ",
        "2026-03-14T15:09:26+99:00",
        "Sat, 14 Mar 2026 15:09:26 GMT",
        "2026-03-14T15:09:26Z\n",
    ],
)
def test_what_is_no_time_is_malformed(time: str) -> None:
    assert reason(message("interruption_warning", time=time)).startswith("time is ")


@pytest.mark.parametrize(
    ("time", "starts_at_ms"),
    [
        ("Tue, 03 Mar 2026 22:00:00 GMT", 1_772_575_200_000),
        ("Sun, 03 Mar 2026 22:00:00 GMT", 1_772_575_200_000),  # the wrong day of the week, as in AWS's own example
        ("3 Mar 2026 22:00:00 GMT", 1_772_575_200_000),
    ],
)
def test_scheduled_changes_write_times_as_in_rfc_1123(time: str, starts_at_ms: int) -> None:
    found = parse_event(message("scheduled_change", detail__startTime=time))
    assert isinstance(found, ScheduledChange)
    assert found.starts_at_ms == starts_at_ms


@pytest.mark.parametrize(
    "time",
    [
        "Tue, 31 Feb 2026 22:00:00 GMT",
        "Tue, 03 Mar 2026 24:00:00 GMT",
        "Tue, 03 Mar 26 22:00:00 GMT",
        "Tue, 03 Mar 2026 22:00:00 CET",
        "Tue, 03 mar 2026 22:00:00 GMT",
        "Tue, 03 Mar 1969 22:00:00 GMT",
        "2026-03-03T22:00:00Z",
    ],
)
def test_what_is_no_time_of_rfc_1123_is_malformed(time: str) -> None:
    assert reason(message("scheduled_change", detail__startTime=time)).startswith("detail.startTime is ")


@pytest.mark.parametrize("state", list(InstanceState))
def test_every_state_is_known(state: InstanceState) -> None:
    found = parse_event(message("state_change_running", detail__state=state))
    assert isinstance(found, StateChange)
    assert found.state is state


@pytest.mark.parametrize("state", ["Running", "rebooting", "shutting_down", "running "])
def test_other_states_are_malformed(state: str) -> None:
    assert "is none of pending, running" in reason(message("state_change_running", detail__state=state))


@pytest.mark.parametrize("action", list(InstanceAction))
def test_every_instance_action_is_known(action: InstanceAction) -> None:
    found = parse_event(message("interruption_warning", **{"detail__instance-action": action}))
    assert isinstance(found, InterruptionWarning)
    assert found.instance_action is action


@pytest.mark.parametrize("name", ["launch_successful", "terminate_successful"])
def test_what_succeeded_has_an_instance(name: str) -> None:
    assert reason(message(name, detail__EC2InstanceId="")) == "detail.EC2InstanceId is empty"


def test_a_lifecycle_action_does_what_its_detail_type_says() -> None:
    raw = message("terminate_lifecycle_action", detail__LifecycleTransition=LifecycleTransition.LAUNCHING)
    assert "the detail-type says otherwise" in reason(raw)


@pytest.mark.parametrize(
    ("source", "detail_type"),
    [
        ("aws.ec2", "EBS Volume Notification"),
        ("aws.ec2spotfleet", "EC2 Spot Fleet Instance Change"),
        ("aws.autoscaling", "EC2 Auto Scaling Instance Refresh Started"),
        ("aws.health", "AWS Health Abuse Event"),
        ("acme.chaos", "EC2 Spot Instance Interruption Warning"),
        ("aws.autoscaling", "EC2 Spot Instance Interruption Warning"),
    ],
)
def test_events_of_other_kinds_and_sources_are_not_ours(source: str, detail_type: str) -> None:
    raw = message("interruption_warning", source=source, detail_type=detail_type)
    assert ignored(raw) == f"not ours: {detail_type!r} of {source!r}"


def test_what_is_not_ours_may_be_anything_inside() -> None:
    raw = json.dumps({"source": "acme.orders", "detail-type": "Order Placed", "time": 7, "id": "o-17"}).encode()
    assert parse_event(raw) == Ignored(
        "not ours: 'Order Placed' of 'acme.orders'",
        source="acme.orders",
        detail_type="Order Placed",
        event_id="o-17",
    )


def test_another_version_of_an_event_is_not_ours() -> None:
    assert "unknown version '1'" in ignored(message("interruption_warning", version="1"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("service", "RDS"), ("eventTypeCategory", "issue"), ("eventTypeCategory", "accountNotification")],
)
def test_other_health_events_are_not_ours(field: str, value: str) -> None:
    raw = message("scheduled_change", **{f"detail__{field}": value})
    assert ignored(raw) == f"not ours: a Health event whose {field} is {value!r}"


@pytest.mark.parametrize(
    "entities", [REMOVED, [], [{"entityValue": "h-0c51e8f0b7a9d2463"}]], ids=["removed", "empty", "a host"]
)
def test_a_scheduled_change_of_no_instance_is_not_ours(entities: object) -> None:
    assert "about no instance" in ignored(message("scheduled_change", detail__affectedEntities=entities))


def test_a_scheduled_change_can_be_of_thousands_of_instances() -> None:
    instance_ids = tuple(f"i-{number:017x}" for number in range(5_000))
    entities = [{"entityValue": instance_id} for instance_id in instance_ids]
    found = parse_event(message("scheduled_change", detail__affectedEntities=entities))
    assert isinstance(found, ScheduledChange)
    assert found.instance_ids == instance_ids


def test_other_notifications_are_not_ours() -> None:
    assert "'autoscaling:EC2_INSTANCE_LAUNCH'" in ignored(
        message("test_notification", Event="autoscaling:EC2_INSTANCE_LAUNCH")
    )


@pytest.mark.parametrize("name", ["test_notification", "terminate_lifecycle_notification"])
@pytest.mark.parametrize("field", ["AccountId", "RequestId", "Time", "AutoScalingGroupName"])
def test_no_field_of_a_notification_may_be_missing(name: str, field: str) -> None:
    assert reason(message(name, **{field: REMOVED})) == f"{field} is missing"


DEEPEST = b'{"a":' * (MAX_NESTING - 1) + b"{}" + b"}" * (MAX_NESTING - 1)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"{}", "source and detail-type are missing"),
        (b'{"source": "aws.ec2"}', "detail-type is missing"),
        (b"{", "not JSON"),
        (b"{}{}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (message("interruption_warning").replace(b"eu-west-1", b"eu-west-\xff"), "not JSON in UTF-8"),
        ("{}".encode("utf-16"), "not JSON"),
        (message("interruption_warning", more=7).replace(b": 7", b": NaN"), "NaN is no number"),
        (message("interruption_warning", more=7).replace(b": 7", b": -Infinity"), "-Infinity is no number"),
        (message("interruption_warning", more=7).replace(b": 7", b": " + b"9" * 5_000), "not JSON"),
        (message("interruption_warning").replace(b'"account"', b'"region"'), "'region' is there twice"),
        (message("interruption_warning", id="\ud800"), "id has half a character"),
        (message("interruption_warning", id="x" * 129), "id has 129 characters, more than 128"),
        (DEEPEST, "source and detail-type are missing"),
        (b'{"a":' + DEEPEST + b"}", "nested deeper than 64 levels"),
        (b'{"a":' * 100_000, "nested deeper than 64 levels"),
        (b"[" * 1_000_000, "nested deeper than 64 levels"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else value,
)
def test_what_is_no_event_is_malformed(raw: bytes, why: str) -> None:
    assert why in reason(raw)


@pytest.mark.parametrize(("levels", "why"), [(63, "source and"), (64, "source and"), (65, "nested deeper")])
def test_the_limit_of_nesting_is_included_however_many_brackets_there_are(levels: int, why: str) -> None:
    beside = b'{"b": [], "c": {}, "a":'
    assert why in reason(beside * (levels - 1) + b"{}" + b"}" * (levels - 1))


def test_brackets_inside_text_are_not_nesting() -> None:
    raw = message("launch_successful", detail__Cause='\\"[{' * 1_000)
    assert parse_event(raw) == LAUNCH


def test_the_size_limit_is_1_mib_and_included() -> None:
    raw = message("interruption_warning")
    largest = raw + b" " * (MAX_EVENT_BYTES - len(raw))
    assert len(largest) == 1_048_576
    assert parse_event(largest) == TOLD["interruption_warning"]
    assert reason(largest + b" ") == "1,048,577 bytes are more than 1,048,576"


def test_a_message_may_be_a_view_of_a_larger_buffer() -> None:
    raw = message("interruption_warning")
    assert parse_event(memoryview(b"<" + raw + b">")[1:-1]) == TOLD["interruption_warning"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def leaves(value: object) -> list[object]:
    if is_dataclass(value):
        return [leaf for each in fields(value) for leaf in leaves(getattr(value, each.name))]
    return [leaf for each in value for leaf in leaves(each)] if isinstance(value, tuple) else [value]


@given(st.binary(max_size=300))
def test_no_bytes_raise(raw: bytes) -> None:
    assert isinstance(parse_event(raw), Malformed | Ignored)


@given(st.sampled_from(NAMES), st.data())
def test_no_damage_raises(name: str, data: st.DataObject) -> None:
    raw = (EVENTS / f"{name}.json").read_bytes()
    position = data.draw(st.integers(0, len(raw) - 1))
    damage = data.draw(st.binary(min_size=1, max_size=3))
    found = parse_event(raw[:position] + damage + raw[position + len(damage) :])
    assert isinstance(found, Event | Malformed | Ignored)


@given(st.sampled_from(NAMES), st.data())
def test_whatever_is_in_a_field_every_value_told_is_typed_and_sendable(name: str, data: st.DataObject) -> None:
    event = json.loads((EVENTS / f"{name}.json").read_bytes())
    target = data.draw(st.sampled_from([event, event.get("detail", event)]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(anything)
    found = parse_event(json.dumps(event).encode())
    for leaf in leaves(found):
        assert leaf is None or type(leaf) in (str, int, bool) or isinstance(leaf, StrEnum)
        str(leaf).encode()
    if isinstance(found, InterruptionWarning | RebalanceRecommendation | StateChange | SpotRequestFulfillment):
        assert re.fullmatch("i-[0-9a-f]{8}([0-9a-f]{9})?", found.instance_id)
