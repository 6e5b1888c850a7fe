"""What the ledger keeps of a change: that both ways to it say what the strict reader says."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.dynamodb import change_facts
from connectors.dynamodb.change import Change, Ignored, Malformed, TableSchema
from connectors.dynamodb.change_facts import ChangeFact, FactPath
from connectors.dynamodb.item_size import item_bytes
from connectors.dynamodb.parse import parse_change
from tests.connectors.test_fast_path import (
    EXPIRY,
    SCHEMAS,
    broken_records,
    image,
    record,
    sound_records,
    text_of,
)

Outcome = ChangeFact | Malformed | Ignored


def strict(text: bytes, schemas: Mapping[str, TableSchema] = SCHEMAS) -> Outcome:
    change = parse_change(text, schemas)
    if not isinstance(change, Change):
        return change
    return ChangeFact(
        change.table,
        change.partition_key,
        change.partition_key_type,
        change.at_ms,
        change.wcu,
        change.size_matches is False,
        0,
        change.event_id,
        str(change.event_name),
        change.new_bytes or 0,
    )


def test_facts_of_an_insert_a_change_and_a_delete_are_told_without_the_strict_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = [
        strict(text_of(given))
        for given in (
            record("INSERT", NewImage=image(3_000), OldImage=...),
            record("MODIFY", NewImage=image(900), OldImage=image(2_100)),
            record("REMOVE", {"userIdentity": EXPIRY}, NewImage=..., OldImage=image(1_500)),
        )
    ]
    assert [(each.wcu, each.new_bytes) for each in expected if isinstance(each, ChangeFact)] == [
        (3, 3_000),
        (3, 900),
        (0, 0),
    ]
    monkeypatch.setattr(change_facts, "parse_change", lambda *_: pytest.fail("the strict reader was asked"))
    path = FactPath(SCHEMAS)
    facts, others = path.decode_all(
        [
            text_of(record("INSERT", NewImage=image(3_000), OldImage=...)),
            text_of(record("MODIFY", NewImage=image(900), OldImage=image(2_100))),
            text_of(record("REMOVE", {"userIdentity": EXPIRY}, NewImage=..., OldImage=image(1_500))),
        ]
    )
    assert [fact._replace(document=0) for fact in facts] == expected
    assert others == []


@pytest.mark.parametrize("new_bytes", [1_023, 1_024, 1_025])
def test_the_sizes_of_both_images_are_exact_at_a_step_of_a_unit(new_bytes: int) -> None:
    text = text_of(record("MODIFY", NewImage=image(new_bytes), OldImage=image(700)))
    fact = FactPath(SCHEMAS).decode(text)
    assert isinstance(fact, ChangeFact)
    assert (fact.new_bytes, fact.wcu) == (new_bytes, -(-new_bytes // 1024))


def test_a_wrong_sum_is_told_where_it_cannot_be_that_of_the_images() -> None:
    item = image(200)
    text = text_of(record("MODIFY", NewImage=item, OldImage=image(100), SizeBytes=50_000))
    fact = FactPath(SCHEMAS).decode(text)
    assert isinstance(fact, ChangeFact)
    assert (fact.size_mismatch, fact.new_bytes, fact.wcu) == (True, item_bytes(item), 1)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sound_records(st.just(0)))
def test_facts_of_sound_records_are_what_the_strict_reader_says(
    case: tuple[bytes, dict[str, TableSchema], int],
) -> None:
    text, schemas, _ = case
    assert FactPath(schemas).decode(text) == strict(text, schemas)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sound_records(st.sampled_from([0, 1, -1, 1_024])))
def test_facts_of_records_that_are_weighed_are_what_the_strict_reader_says(
    case: tuple[bytes, dict[str, TableSchema], int],
) -> None:
    text, schemas, _ = case
    assert FactPath(schemas, weigh_always=True).decode(text) == strict(text, schemas)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(broken_records(images=False))
def test_facts_of_records_broken_outside_their_images_are_what_the_strict_reader_says(text: bytes) -> None:
    expected: Any = strict(text)
    outcome: Any = FactPath(SCHEMAS).decode(text)
    if isinstance(expected, ChangeFact) and expected.size_mismatch:
        assert isinstance(outcome, ChangeFact)
        expected = expected._replace(wcu=outcome.wcu, size_mismatch=outcome.size_mismatch, new_bytes=outcome.new_bytes)
    assert outcome == expected


def test_a_change_without_an_event_id_has_none() -> None:
    given = json.loads(text_of(record()))
    del given["eventID"]
    fact = FactPath(SCHEMAS).decode(text_of(given))
    assert isinstance(fact, ChangeFact)
    assert fact.event_id is None
