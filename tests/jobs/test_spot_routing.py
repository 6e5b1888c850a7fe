from pathlib import Path

import pytest

from connectors.ec2.events import Event, Ignored, Malformed
from connectors.spot_fact_records import DETAIL_TYPES, encode_facts, parse_event_or_facts
from connectors.spot_facts import Facts
from jobs.spot.evidence import PoolEvidence
from jobs.spot.market import Pool
from jobs.spot.routing import (
    HEARD_ORDER,
    SubjectKind,
    ToldKind,
    kind_name,
    pool_of_subject,
    pool_subject,
    read_told,
    route,
    subject_kind,
)
from tests.connectors.test_spot_facts import EACH

EVENTS = sorted((Path(__file__).parents[1] / "events" / "ec2").glob("*.json"))
POOL = Pool("604418233907", "eu-west-1", "m7g.2xlarge", "eu-west-1b")


def outcome(path: Path) -> Event | Facts | None:
    parsed = parse_event_or_facts(path.read_bytes())
    return None if isinstance(parsed, Malformed | Ignored) else parsed


SOUND = [parsed for path in EVENTS if (parsed := outcome(path)) is not None]


@pytest.mark.parametrize("parsed", [*SOUND, *EACH], ids=kind_name)
def test_what_is_routed_is_read_back_whole_and_named_by_its_kind(parsed: Event | Facts) -> None:
    for routed in route(parsed):
        told = read_told(routed.kind, routed.value)
        assert type(told).__name__.lower() == routed.kind.replace("_", "")
        assert told.at_ms == routed.at_ms
        assert isinstance(told, PoolEvidence) or told.account in routed.subject
        assert subject_kind(routed.subject) in SubjectKind
    assert kind_name(parsed).replace("_", "") == type(parsed).__name__.lower()


@pytest.mark.parametrize(
    ("name", "subjects"),
    [
        ("interruption_warning", ["instance|604418233907|i-0004be7a92c1d03f5"]),
        ("launch_unsuccessful_no_instance", ["group|"]),
        ("launch_successful", ["instance|"]),
        ("terminate_lifecycle_notification", ["instance|"]),
        ("test_notification", []),
        ("scheduled_change", []),
    ],
)
def test_an_event_is_for_the_instance_or_the_group_that_it_concerns(name: str, subjects: list[str]) -> None:
    [path] = [path for path in EVENTS if path.stem == name]
    parsed = outcome(path)
    assert parsed is not None
    found = [routed.subject for routed in route(parsed)]
    assert [subject.startswith(begins) for subject, begins in zip(found, subjects, strict=True)] == [True] * len(
        subjects
    )


def test_a_page_of_a_scan_tells_each_instance_where_it_runs_and_each_group_what_it_runs() -> None:
    assert [routed.subject for routed in route(EACH[0])] == [
        "instance|604418233907|i-0004be7a92c1d03f5",
        "group|604418233907|eu-west-1|inbox-workers",
    ]


@pytest.mark.parametrize("facts", EACH[1:], ids=kind_name)
def test_what_is_known_of_a_pool_goes_to_the_pool(facts: Facts) -> None:
    [routed] = route(facts)
    assert routed.subject == pool_subject(POOL)
    assert pool_of_subject(routed.subject) == POOL


def test_what_is_known_is_heard_before_what_happens_at_the_same_time() -> None:
    assert HEARD_ORDER[ToldKind.INSTANCE_FOUND] < HEARD_ORDER[ToldKind.INTERRUPTION_WARNING]
    assert HEARD_ORDER[ToldKind.LIFECYCLE_ACTION] < HEARD_ORDER[ToldKind.STATE_CHANGE]


def test_every_kind_of_fact_can_come_over_the_wire() -> None:
    assert {type(parse_event_or_facts(encode_facts(facts))) for facts in EACH} == set(DETAIL_TYPES)
