import base64
import gzip
import json
import os
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.change import Change, Ignored, Malformed, TableSchema
from connectors.dynamodb.parse import parse_change
from jobs.generate import KeyAttribute, KeyType, Misbehaving, Profile, ProfileError, SizeRange, Table, notation, records
from jobs.generate.command import generate
from jobs.generate.malformed import UNFRAMED, MalformedKind, malformed_record
from jobs.generate.profile import EVERYDAY_ITEM_BYTES, MAX_ITEM_BYTES
from jobs.generate.write import Form, write_recording

SCHEMAS = {"conversations": TableSchema("pk"), "meters": TableSchema("number"), "blobs": TableSchema("zone")}
METERS = Table("meters", KeyAttribute("number", KeyType.N), KeyAttribute("at", KeyType.N))
BLOBS = Table("blobs", KeyAttribute("zone", KeyType.B), KeyAttribute("hash", KeyType.B))
FAULTLESS = Profile(records=2_000, duplicates=0, disorder_ms=0, late=0, malformed=0)
RECORDINGS = Path(__file__).parents[1] / "recordings"


def parsed(profile: Profile) -> list[Change | Malformed | Ignored]:
    return [parse_change(record, SCHEMAS) for record in records(profile)]


def changes(profile: Profile) -> list[Change]:
    return [change for change in parsed(profile) if isinstance(change, Change)]


def told(profile: Profile) -> Iterator[dict[str, Any]]:
    return (json.loads(record) for record in records(profile))


def behind_ms(times_ms: list[int]) -> list[int]:
    """How far each time is behind the newest before it; 0 or less where it is not."""
    newest, behind = times_ms[0], []
    for at_ms in times_ms:
        behind.append(newest - at_ms)
        newest = max(newest, at_ms)
    return behind


# What a recording is made of


def test_same_profile_gives_the_same_records() -> None:
    assert list(records(Profile(records=500))) == list(records(Profile(records=500)))


def test_another_seed_gives_other_records() -> None:
    assert set(records(Profile(records=50))).isdisjoint(records(Profile(records=50, seed=2)))


@pytest.mark.parametrize("count", [1, 2, 999])
def test_as_many_records_as_asked_for(count: int) -> None:
    assert sum(1 for _ in records(Profile(records=count, malformed=0.2, duplicates=0.2))) == count


def test_changes_fill_the_duration_at_the_rate() -> None:
    profile = replace(FAULTLESS, records=None, duration_ms=10_000, rate_per_s=30)
    offsets_ms = [change.at_ms - profile.start_ms for change in changes(profile)]
    assert len(offsets_ms) == 300
    assert offsets_ms[0] >= 0
    assert offsets_ms[-1] < 10_000
    assert all(later - earlier < 2 * 1_000 / 30 + 1 for earlier, later in pairwise(offsets_ms))


def test_first_of_two_ends_ends_the_recording() -> None:
    assert sum(1 for _ in records(replace(FAULTLESS, records=50, duration_ms=1_000))) == 50
    assert sum(1 for _ in records(replace(FAULTLESS, records=5_000, duration_ms=1_000))) == 200


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), smallest=st.integers(1, 3_000), span=st.integers(0, 3_000))
def test_size_bytes_is_the_sum_of_keys_and_images(seed: int, smallest: int, span: int) -> None:
    profile = replace(
        FAULTLESS,
        records=60,
        seed=seed,
        tenants=5,
        tables=(*FAULTLESS.tables, METERS, BLOBS),
        item_bytes=(SizeRange(smallest, smallest + span),),
    )
    assert {change.size_matches for change in changes(profile)} == {True}
    assert len(changes(profile)) == 60


@pytest.mark.parametrize("size_bytes", [100, 1_023, 1_024, 1_025, 70_000, MAX_ITEM_BYTES])
def test_items_have_the_size_asked_for(size_bytes: int) -> None:
    profile = replace(FAULTLESS, records=100, item_bytes=(SizeRange(size_bytes, size_bytes),))
    sizes = [size for change in changes(profile) for size in (change.old_bytes, change.new_bytes) if size]
    assert size_bytes - 16 <= min(sizes)
    assert max(sizes) <= size_bytes


def test_items_smaller_than_their_keys_are_their_keys_or_have_a_version() -> None:
    profile = replace(FAULTLESS, item_bytes=(SizeRange(1, 1),))
    beyond_keys = {(change.new_bytes or change.old_bytes or 0) - change.keys_bytes for change in changes(profile)}
    assert 0 in beyond_keys
    assert beyond_keys <= {0, 9, 10}


def test_sizes_range_from_bytes_to_the_largest_item() -> None:
    profile = replace(FAULTLESS, item_bytes=(SizeRange(20, 100, 9), SizeRange(300_000, MAX_ITEM_BYTES, 1)))
    sizes = [change.new_bytes for change in changes(replace(profile, records=300)) if change.new_bytes]
    assert min(sizes) < 100
    assert max(sizes) > 350_000
    assert 0.05 < sum(size > 100_000 for size in sizes) / len(sizes) < 0.2


def test_every_attribute_type_appears_nested_too() -> None:
    def types(value: dict[str, Any], depth: int) -> Iterator[tuple[str, bool]]:
        for tag, body in value.items():
            yield tag, depth > 1
            if tag == "L":
                for element in body:
                    yield from types(element, depth + 1)
            if tag == "M":
                for element in body.values():
                    yield from types(element, depth + 1)

    found = {
        seen
        for record in told(FAULTLESS)
        for value in record["dynamodb"].get("NewImage", {}).values()
        for seen in types(value, 1)
    }
    every = ("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS")
    assert found == {(tag, nested) for tag in every for nested in (False, True)}


def test_fields_stand_as_dynamodb_writes_them() -> None:
    outer = [
        "awsRegion",
        "eventID",
        "eventName",
        "userIdentity",
        "recordFormat",
        "tableName",
        "dynamodb",
        "eventSource",
    ]
    time = "ApproximateCreationDateTime"
    inner = [time, "Keys", "NewImage", "OldImage", "SizeBytes", f"{time}Precision"]
    for record in told(FAULTLESS):
        assert list(record) == outer
        assert list(record["dynamodb"]) == [field for field in inner if field in record["dynamodb"]]


def test_records_have_no_line_breaks_and_no_spare_blanks() -> None:
    for record in records(FAULTLESS):
        assert b"\n" not in record
        assert json.dumps(json.loads(record), ensure_ascii=False, separators=(",", ":")).encode() == record


def test_items_persist_from_one_change_to_the_next() -> None:
    items: dict[str, Any] = {}
    met_again = 0
    for record in told(replace(FAULTLESS, records=5_000, tenants=40)):
        change = record["dynamodb"]
        key = record["tableName"] + json.dumps(change["Keys"])
        assert ("NewImage" in change) == (record["eventName"] != "REMOVE")
        assert ("OldImage" in change) == (record["eventName"] != "INSERT")
        if key in items:
            met_again += 1
            assert change.get("OldImage") == items[key]
        assert change.get("NewImage") != change.get("OldImage")
        items[key] = change.get("NewImage")
    assert met_again > 2_000


def test_kinds_of_change_have_their_ratios() -> None:
    profile = replace(FAULTLESS, records=10_000, tables=(METERS,), modify_ratio=0.4, remove_ratio=0.2, ttl_ratio=0.1)
    counts = Counter((record["eventName"], record["userIdentity"] is None) for record in told(profile))
    expected = {("MODIFY", True): 0.4, ("REMOVE", True): 0.2, ("REMOVE", False): 0.1, ("INSERT", True): 0.3}
    assert {kind: counts[kind] / 10_000 for kind in counts} == pytest.approx(expected, abs=0.02)


def test_deletes_by_time_to_live_say_so_and_cost_nothing() -> None:
    profile = replace(FAULTLESS, modify_ratio=0.3, ttl_ratio=0.45)
    for record, change in zip(told(profile), changes(profile), strict=True):
        expired = record["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
        assert expired == (record["userIdentity"] is not None) == (change.wcu == 0)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_precision_is_told_where_it_is_microseconds(fraction: float) -> None:
    in_microseconds = 0
    for record in told(replace(FAULTLESS, microseconds=fraction)):
        precision = record["dynamodb"].get("ApproximateCreationDateTimePrecision")
        assert (precision == "MICROSECOND") == (record["dynamodb"]["ApproximateCreationDateTime"] > 10**14)
        assert precision in (None, "MICROSECOND")
        in_microseconds += precision is not None
    assert in_microseconds / 2_000 == pytest.approx(fraction, abs=0.05)


def test_tenants_follow_zipfs_law() -> None:
    profile = replace(FAULTLESS, records=10_000, zipf=1.0, tables=(METERS,))
    writes = Counter(change.partition_key for change in changes(profile))
    assert [key for key, _ in writes.most_common(4)] == ["1", "2", "3", "4"]
    assert writes["1"] / writes["4"] == pytest.approx(4, rel=0.15)


def test_zipf_of_zero_makes_tenants_equal() -> None:
    writes = Counter(change.partition_key for change in changes(replace(FAULTLESS, zipf=0, tenants=4)))
    assert len(writes) == 4
    assert min(writes.values()) > 400


def test_key_types_are_those_of_the_table() -> None:
    found = {
        (change.table, change.partition_key_type) for change in changes(replace(FAULTLESS, tables=(METERS, BLOBS)))
    }
    assert found == {("meters", "N"), ("blobs", "B")}


def test_no_attribute_has_the_name_of_a_key() -> None:
    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    odd = Table("odd", KeyAttribute("version"), KeyAttribute("body"))
    for record in records(replace(FAULTLESS, tables=(odd, METERS))):
        json.loads(record, object_pairs_hook=without_repeats)
        change = parse_change(record, {"odd": TableSchema("version"), **SCHEMAS})
        assert isinstance(change, Change)
        assert change.size_matches


# Misbehaving tenants


def test_misbehaving_tenant_writes_at_its_rate_in_its_time() -> None:
    intruder = Misbehaving(
        "intruder", start_ms=3_000, length_ms=5_000, rate_per_s=120, item_bytes=(SizeRange(5_000, 5_000),)
    )
    profile = replace(FAULTLESS, records=None, duration_ms=12_000, misbehaving=(intruder,))
    own = [change for change in changes(profile) if change.partition_key == "intruder"]
    assert len(own) == 600
    assert {change.table for change in own} == {"conversations"}
    assert profile.start_ms + 3_000 <= min(change.at_ms for change in own)
    assert max(change.at_ms for change in own) < profile.start_ms + 8_000
    assert {change.wcu for change in own} == {0, 5}


def test_misbehaving_tenant_adds_to_the_others() -> None:
    calm = replace(FAULTLESS, records=None, duration_ms=5_000)
    intruder = Misbehaving("intruder", 1_000, 2_000, 50, table="sessions")
    others = [
        change for change in changes(replace(calm, misbehaving=(intruder,))) if change.partition_key != "intruder"
    ]
    assert len(others) == len(changes(calm))


def test_misbehaving_tenant_is_the_tenant_of_that_name() -> None:
    again = Misbehaving("tenant-000001", 0, 10_000, 100, table="meters")
    profile = replace(FAULTLESS, tables=(METERS,), misbehaving=(again,), tenants=1)
    assert {change.partition_key for change in changes(profile)} == {"1"}


# How records arrive


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    disorder_ms=st.integers(0, 5_000),
    rate_per_s=st.floats(1, 2_000),
    duplicates=st.floats(0, 1),
)
def test_no_record_is_behind_by_more_than_the_disorder(
    seed: int, disorder_ms: int, rate_per_s: float, duplicates: float
) -> None:
    profile = replace(
        FAULTLESS, seed=seed, records=300, disorder_ms=disorder_ms, rate_per_s=rate_per_s, duplicates=duplicates
    )
    assert max(behind_ms([change.at_ms for change in changes(profile)])) <= disorder_ms


def test_disorder_is_used() -> None:
    profile = replace(FAULTLESS, records=5_000, disorder_ms=1_500)
    assert 1_300 < max(behind_ms([change.at_ms for change in changes(profile)])) <= 1_500


def test_late_records_are_late_by_what_was_asked_for() -> None:
    profile = replace(FAULTLESS, records=10_000, disorder_ms=500, late=0.01, late_by_ms=(5_000, 9_000))
    late = [behind for behind in behind_ms([change.at_ms for change in changes(profile)]) if behind > 500]
    assert len(late) == pytest.approx(100, abs=40)
    assert min(late) > 5_000 - 500 - 20
    assert max(late) <= 9_000


def test_duplicates_are_whole_copies_within_the_disorder() -> None:
    profile = replace(FAULTLESS, records=5_000, disorder_ms=1_000, duplicates=0.1)
    copies = Counter(records(profile))
    identifiers = Counter(change.event_id for change in changes(profile))
    assert sorted(copies.values()) == sorted(identifiers.values())
    assert set(copies.values()) == {1, 2}
    assert sum(count - 1 for count in copies.values()) == pytest.approx(450, abs=80)


def test_faults_leave_the_changes_as_they_are() -> None:
    calm = replace(FAULTLESS, records=None, duration_ms=20_000)
    faulty = replace(calm, disorder_ms=1_500, duplicates=0.1, late=0.05, late_by_ms=(3_000, 9_000), malformed=0.1)
    sound = {record for record in records(faulty) if isinstance(parse_change(record, SCHEMAS), Change)}
    assert sound == set(records(calm))


# Malformed records


@pytest.mark.parametrize("kind", MalformedKind)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=4, deadline=None)
def test_malformed_records_are_malformed(kind: MalformedKind, seed: int) -> None:
    for record in records(replace(FAULTLESS, records=3, seed=seed, tables=(*FAULTLESS.tables, METERS, BLOBS))):
        faulty = malformed_record(record, kind, Random(seed))
        outcome = Ignored if kind is MalformedKind.FOREIGN else Malformed
        assert isinstance(parse_change(faulty, SCHEMAS), outcome)
        assert b"\n" not in faulty
        assert faulty


@pytest.mark.parametrize("kind", sorted(set(MalformedKind) - UNFRAMED))
def test_framed_kinds_are_whole_objects(kind: MalformedKind) -> None:
    for record in records(replace(FAULTLESS, records=5)):
        faulty = malformed_record(record, kind, Random(1)).decode()
        assert faulty.startswith("{")
        assert faulty.endswith("}")
        assert faulty.count("{") == faulty.count("}")


def test_malformed_records_come_in_their_fraction_and_in_all_kinds() -> None:
    outcomes = parsed(replace(FAULTLESS, records=10_000, malformed=0.05))
    reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, Malformed)}
    assert sum(not isinstance(outcome, Change) for outcome in outcomes) == pytest.approx(476, abs=90)
    assert len(reasons) > len(MalformedKind)


# Profiles


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("records", {"records": None}),
        ("records", {"records": 0}),
        ("duration_ms", {"duration_ms": 0}),
        ("rate_per_s", {"rate_per_s": 0.0}),
        ("rate_per_s", {"rate_per_s": float("nan")}),
        ("tenants", {"tenants": 0}),
        ("zipf", {"zipf": -0.1}),
        ("zipf", {"zipf": 10.1}),
        ("late", {"late": 1.1}),
        ("microseconds", {"microseconds": -0.1}),
        ("modify_ratio", {"modify_ratio": 0.5, "remove_ratio": 0.4, "ttl_ratio": 0.2}),
        ("start_ms", {"start_ms": 10**11}),
        ("start_ms", {"start_ms": 9 * 10**13}),
        ("disorder_ms", {"disorder_ms": -1}),
        ("late_by_ms", {"late": 0.1, "disorder_ms": 1_000, "late_by_ms": (1_000, 2_000)}),
        ("late_by_ms", {"late": 0.1, "late_by_ms": (3_000, 2_999)}),
        ("malformed_kinds", {"malformed": 0.1, "malformed_kinds": ()}),
        ("tables", {"tables": ()}),
        ("tables", {"tables": (METERS, METERS)}),
        ("tables", {"tables": (Table("", KeyAttribute("id")),)}),
        ("tables", {"tables": (Table("t", KeyAttribute("id"), KeyAttribute("id")),)}),
        ("item_bytes", {"item_bytes": ()}),
        ("item_bytes", {"item_bytes": (SizeRange(0, 1),)}),
        ("item_bytes", {"item_bytes": (SizeRange(2, 1),)}),
        ("item_bytes", {"item_bytes": (SizeRange(1, MAX_ITEM_BYTES + 1),)}),
        ("item_bytes", {"item_bytes": (SizeRange(1, 2, 0),)}),
        ("misbehaving", {"misbehaving": (Misbehaving("a", 10_000, 1, 1),)}),
        ("misbehaving", {"misbehaving": (Misbehaving("a", 0, 0, 1),)}),
        ("misbehaving", {"misbehaving": (Misbehaving("a", 0, 1, 0),)}),
        ("misbehaving", {"misbehaving": (Misbehaving("", 0, 1, 1),)}),
        ("misbehaving", {"misbehaving": (Misbehaving("a", 0, 1, 1, table="missing"),)}),
        ("misbehaving", {"misbehaving": (Misbehaving("a", 0, 1, 1, (SizeRange(0, 0),)),)}),
        ("misbehaving", {"tables": (METERS,), "misbehaving": (Misbehaving("acme", 0, 1, 1),)}),
    ],
)
def test_impossible_profile_is_refused_by_the_name_of_its_field(field: str, wanted: dict[str, Any]) -> None:
    with pytest.raises(ProfileError) as refused:
        replace(FAULTLESS, **wanted)
    assert refused.value.field == field


def test_expected_records_are_about_those_that_come() -> None:
    intruder = Misbehaving("intruder", 15_000, 60_000, 100)
    profile = Profile(duration_ms=20_000, misbehaving=(intruder,), duplicates=0.1, malformed=0.05)
    assert sum(1 for _ in records(profile)) == pytest.approx(profile.expected_records, rel=0.03)


# Notation of options


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [("90s", 90_000), ("1m30s", 90_000), ("250ms", 250), ("1.5s", 1_500), ("0.001s", 1), ("0s", 0)],
)
def test_duration_is_read(text: str, expected_ms: int) -> None:
    assert notation.duration_ms(text) == expected_ms


def test_two_durations_are_read() -> None:
    assert notation.durations_ms("3m..10m") == (180_000, 600_000)
    assert notation.durations_ms("3m") == (180_000, 180_000)


@pytest.mark.parametrize(
    ("text", "expected"), [("200/s", 200), ("200", 200), ("0.5/s", 0.5), ("12000/m", 200), ("36/h", 0.01)]
)
def test_rate_is_read(text: str, expected: float) -> None:
    assert notation.rate_per_s(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["2026-11-20T10:00:00Z", "2026-11-20T10:00:00", "2026-11-20T11:00:00+01:00", "2026-11-20 10:00"]
)
def test_start_is_read_in_utc(text: str) -> None:
    assert notation.instant_ms(text) == 1_795_168_800_000


def test_sizes_are_read() -> None:
    assert notation.size_ranges("1200") == (SizeRange(1_200, 1_200),)
    assert notation.size_ranges("80..2KB@98, 2kb..400KB@0.5") == (
        SizeRange(80, 2_048, 98),
        SizeRange(2_048, MAX_ITEM_BYTES, 0.5),
    )


def test_tables_are_read() -> None:
    expected = (Table("conversations", KeyAttribute("pk"), KeyAttribute("sk")), Table("sessions", KeyAttribute("id")))
    assert notation.tables("conversations:pk:sk,sessions:id") == expected
    assert notation.tables("meters:number=N:at=N") == (METERS,)


def test_misbehaving_tenant_is_read() -> None:
    assert notation.misbehaving("tenant-000221:3m:90s:400/s") == Misbehaving("tenant-000221", 180_000, 90_000, 400)
    assert notation.misbehaving("sessions/a:0s:1s:1/m:1KB..2KB") == Misbehaving(
        "a", 0, 1_000, 1 / 60, (SizeRange(1_024, 2_048),), "sessions"
    )
    assert notation.misbehaving("none") is None


@pytest.mark.parametrize(
    "option",
    [
        "--duration=10",
        "--duration=1.2345s",
        "--rate=0",
        "--rate=200/d",
        "--rate=nan",
        "--start=yesterday",
        "--item-bytes=many",
        "--item-bytes=1..2..3",
        "--item-bytes=1..500KB",
        "--item-bytes=1@inf",
        "--tables=conversations",
        "--tables=conversations:a:b:c",
        "--tables=conversations:a=X",
        "--misbehaving=tenant-000221",
        "--misbehaving=tenant-000221:3m:90s:fast",
        "--misbehaving=tenant-000221:9h:90s:1/s",
        "--late-by=1s",
        "--modify-ratio=0.99",
        "--zipf=11",
        "--records=0",
        "--files=0",
        "--form=csv",
    ],
)
def test_wrong_option_is_named_and_nothing_written(option: str, tmp_path: Path) -> None:
    result = run(tmp_path / "out.jsonl", option)
    assert result.exit_code == 2
    assert f"Invalid value for '{option.partition('=')[0]}'" in result.output
    assert not list(tmp_path.iterdir())


# The command


def run(out: Path, *options: str) -> Result:
    return CliRunner().invoke(generate, [str(out), *options])


def test_command_without_options_makes_a_recording_in_which_somebody_misbehaves(tmp_path: Path) -> None:
    result = run(tmp_path / "out.jsonl.gz", "--records", "3000")
    lines = gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).splitlines()
    outcomes = [parse_change(line, SCHEMAS) for line in lines]
    writes = Counter((change.table, change.partition_key) for change in outcomes if isinstance(change, Change))
    assert result.exit_code == 0
    assert "3,000 records" in result.output
    assert len(lines) == 3_000
    assert writes["conversations", "tenant-000221"] > 300


def test_defaults_of_the_command_are_those_of_a_profile() -> None:
    context = generate.make_context("generate", ["out"])
    command = {field.name: context.params[field.name] for field in fields(Profile) if field.name in context.params}
    profile = Profile(records=1)
    assert set(command) == {field.name for field in fields(Profile)} - {"malformed_kinds"}
    for name in set(command) - {"records", "item_bytes"}:
        assert command[name] == getattr(profile, name), name
    assert command["item_bytes"] == EVERYDAY_ITEM_BYTES


def test_help_says_what_every_option_is_for() -> None:
    assert [option.name for option in generate.params if not getattr(option, "help", "")] == ["out"]
    assert "headroom generate out.jsonl.gz" in run(Path("out"), "--help").output


def test_nobody_misbehaves_when_asked(tmp_path: Path) -> None:
    run(tmp_path / "out", "--records=2000", "--misbehaving=none", "--malformed=0")
    expected = list(records(Profile(records=2_000, malformed=0)))
    assert (tmp_path / "out").read_bytes().splitlines() == expected


def test_existing_file_is_kept_without_force_and_replaced_with_it(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(b"precious")
    refused = run(out, "--records=10")
    assert refused.exit_code == 2
    assert "--force" in refused.output
    assert out.read_bytes() == b"precious"
    assert run(out, "--records=10", "--force").exit_code == 0
    assert len(out.read_bytes().splitlines()) == 10
    assert list(tmp_path.iterdir()) == [out]


def test_missing_directory_is_named(tmp_path: Path) -> None:
    result = run(tmp_path / "missing" / "out.jsonl")
    assert result.exit_code == 2
    assert "no directory" in result.output


def test_failed_run_leaves_the_earlier_recording(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(b"precious")

    def failing() -> Iterator[bytes]:
        yield from [b"{}"] * 1_000
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_recording(failing(), out, form=Form.LINES, compress=False, shards=None, on_progress=lambda _count: None)
    assert out.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("name", "options", "compressed"),
    [("a.jsonl", [], False), ("a.jsonl.gz", [], True), ("a", ["--gzip"], True), ("a.gz", ["--no-gzip"], False)],
)
def test_name_decides_about_gzip_unless_told(tmp_path: Path, name: str, options: list[str], compressed: bool) -> None:
    run(tmp_path / name, "--records=10", *options)
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == compressed


def test_gzip_has_neither_name_nor_time(tmp_path: Path) -> None:
    run(tmp_path / "a.gz", "--records=10")
    run(tmp_path / "b.gz", "--records=10")
    header = (tmp_path / "a.gz").read_bytes()[:10]
    assert header[3] == 0
    assert header[4:8] == bytes(4)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_concatenated_records_have_nothing_between_them_and_can_be_told_apart(tmp_path: Path) -> None:
    run(tmp_path / "out", "--records=500", "--form=concatenated", "--malformed=0.2")
    first, *others = (tmp_path / "out").read_bytes().split(b'}{"awsRegion":')
    whole = [first + b"}", *(b'{"awsRegion":' + other + b"}" for other in others[:-1])]
    outcomes = Counter(type(parse_change(record, SCHEMAS)) for record in whole)
    assert len(whole) == 499
    assert outcomes[Malformed] > 50
    assert outcomes[Change] > 350


def test_envelopes_carry_the_same_records(tmp_path: Path) -> None:
    run(tmp_path / "lines", "--records=500", "--malformed=0.1")
    run(tmp_path / "envelopes", "--records=500", "--malformed=0.1", "--form=envelope")
    envelopes = [json.loads(line) for line in (tmp_path / "envelopes").read_bytes().splitlines()]
    carried = [base64.b64decode(each["kinesis"]["data"]) for envelope in envelopes for each in envelope["Records"]]
    numbers = [int(each["kinesis"]["sequenceNumber"]) for envelope in envelopes for each in envelope["Records"]]
    assert carried == (tmp_path / "lines").read_bytes().splitlines()
    assert numbers == sorted(set(numbers))
    assert len(envelopes) > 4


def test_shards_share_the_records_and_keep_items_together(tmp_path: Path) -> None:
    run(tmp_path / "whole", "--records=3000")
    assert run(tmp_path / "shards", "--records=3000", "--files=3", "--gzip").exit_code == 0
    shards = [gzip.decompress(path.read_bytes()).splitlines() for path in sorted((tmp_path / "shards").iterdir())]
    assert [path.name for path in sorted((tmp_path / "shards").iterdir())] == [
        f"shard-{number:03d}.jsonl.gz" for number in range(3)
    ]
    assert sorted(record for shard in shards for record in shard) == sorted(
        (tmp_path / "whole").read_bytes().splitlines()
    )
    assert min(map(len, shards)) > 700
    homes: dict[str, set[int]] = {}
    for number, shard in enumerate(shards):
        for record in shard:
            if isinstance(parse_change(record, SCHEMAS), Change):
                homes.setdefault(json.dumps(json.loads(record)["dynamodb"]["Keys"]), set()).add(number)
    assert {len(shards_of_item) for shards_of_item in homes.values()} == {1}


def test_directory_is_replaced_only_when_it_holds_nothing_but_shards(tmp_path: Path) -> None:
    out = tmp_path / "shards"
    assert run(out, "--records=100", "--files=3").exit_code == 0
    assert run(out, "--records=100", "--files=2").exit_code == 2
    assert run(out, "--records=100", "--files=2", "--force").exit_code == 0
    assert len(list(out.iterdir())) == 2
    (out / "notes.txt").write_text("precious")
    refused = run(out, "--records=100", "--files=2", "--force")
    assert refused.exit_code == 2
    assert "left alone" in refused.output
    assert (out / "notes.txt").read_text() == "precious"
    assert list(tmp_path.iterdir()) == [out]


def test_file_does_not_take_the_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run(tmp_path / "out", "--records=10", "--force").exit_code == 2
    (tmp_path / "file").touch()
    assert run(tmp_path / "file", "--records=10", "--files=2", "--force").exit_code == 2


def test_device_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused = run(tmp_path / "pipe", "--records=10", "--force")
    assert refused.exit_code == 2
    assert (tmp_path / "pipe").is_fifo()


# The recording that ships with the project


def shipped() -> list[bytes]:
    return gzip.decompress((RECORDINGS / "conversations.jsonl.gz").read_bytes()).splitlines()


def test_shipped_recording_is_what_its_command_makes(tmp_path: Path) -> None:
    readme = (RECORDINGS / "README.md").read_text()
    command = shlex.split(readme.partition("```sh\n")[2].partition("```")[0].replace("\\\n", " "))
    assert command[:3] == ["headroom", "generate", "tests/recordings/conversations.jsonl.gz"]
    result = run(tmp_path / "again.jsonl.gz", *command[3:])
    assert result.exit_code == 0
    # Not the compressed bytes: those depend on the release of zlib.
    assert gzip.decompress((tmp_path / "again.jsonl.gz").read_bytes()).splitlines() == shipped()


def test_shipped_recording_is_small() -> None:
    assert (RECORDINGS / "conversations.jsonl.gz").stat().st_size < 5_000_000


def test_shipped_recording_shows_who_is_over_the_limit_and_who_is_near() -> None:
    seen: set[str | None] = set()
    wcu = Counter[tuple[int, str, str]]()
    for change in (parse_change(record, SCHEMAS) for record in shipped()):
        if isinstance(change, Change) and change.event_id not in seen:
            seen.add(change.event_id)
            minute = (change.at_ms - Profile(records=1).start_ms) // 120_000 * 2
            wcu[minute, change.table, change.partition_key] += change.wcu
    assert {window for window, consumed in wcu.items() if consumed >= 6_000} == {
        (2, "conversations", "tenant-000221"),
        (6, "conversations", "tenant-000221"),
        (8, "sessions", "tenant-000058"),
        (10, "conversations", "tenant-000348"),
    }
    assert [window for window, consumed in wcu.items() if 4_800 <= consumed < 6_000] == [
        (4, "conversations", "tenant-000005")
    ]


def test_shipped_recording_has_every_imperfection() -> None:
    outcomes = [parse_change(record, SCHEMAS) for record in shipped()]
    sound = [change for change in outcomes if isinstance(change, Change)]
    behind = behind_ms([change.at_ms for change in sound])
    assert sum(isinstance(outcome, Malformed) for outcome in outcomes) >= 5
    assert sum(delay > 2_000 for delay in behind) >= 3
    assert sum(0 < delay < 2_000 for delay in behind) > 1_000
    assert len(sound) - len({change.event_id for change in sound}) > 50
    assert sum(change.wcu == 0 for change in sound) > 50
    assert all(change.size_matches for change in sound)
