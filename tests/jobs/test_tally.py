from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.actions import Evidence, SuspendAction
from connectors.dynamodb.fast_path import WriteCost
from jobs.capacity import tally as tally_module
from jobs.capacity.outcomes import OutcomeKind
from jobs.capacity.tally import Peak, Tally
from jobs.recorded.reports import (
    KEPT_OF_RECORD_BYTES,
    Counts,
    Report,
    late_line,
    malformed_line,
    read_report,
    write_report,
)

SUMMARY_NAMES = [
    "events",
    "changes",
    "malformed",
    "ignored",
    "late",
    "duplicates_seen_if_known",
    "size_mismatch",
    "partition_keys",
    "suspensions",
    "extensions",
    "first_event_ms",
    "last_event_ms",
    "wall_s",
    "events_per_s",
]
POSITION: dict[str, str | int] = {"file": "day.jsonl", "byte": 70}


def action(key: str, issued_at_ms: int, lease_ms: int, table: str = "visits", key_type: str = "S") -> SuspendAction:
    evidence = Evidence(0, 120_000, 700, 70, 600, "default")
    end_ms = issued_at_ms + lease_ms
    return SuspendAction("0" * 32, 1, issued_at_ms, end_ms, table, key, key_type, lease_ms, evidence)


def window(key: str, consumed_wcu: int, limit_wcu: int = 100, table: str = "visits") -> dict[str, Any]:
    return {"table": table, "partition_key": key, "consumed_wcu": consumed_wcu, "limit_wcu": limit_wcu}


def test_the_summary_has_these_fields_in_this_order() -> None:
    assert list(Tally().summary(1.0)) == SUMMARY_NAMES


def test_of_nothing_the_summary_says_nothing() -> None:
    summary = Tally().summary(2.0)
    assert [summary[name] for name in SUMMARY_NAMES] == [0, 0, 0, 0, 0, None, 0, 0, 0, 0, None, None, 2.0, 0.0]


def test_events_are_records_of_every_outcome() -> None:
    tally = Tally()
    tally.add_report(Report(Counts(changes=5, malformed=3, ignored=2, late=1, size_mismatch=4)))
    summary = tally.summary(4.0)
    assert (summary["events"], summary["events_per_s"]) == (10, 2.5)
    assert [summary[name] for name in ("changes", "malformed", "ignored", "late", "size_mismatch")] == [5, 3, 2, 1, 4]


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.tuples(st.integers(0, 99), st.integers(0, 99)))))
def test_counts_add_up_and_the_time_between_first_and_last_widens(
    told: list[tuple[int, tuple[int, int] | None]],
) -> None:
    tally = Tally()
    for number, times in told:
        first_ms, last_ms = (None, None) if times is None else (min(times), max(times))
        tally.add_report(Report(Counts(number, number, number, number, number, number, first_ms, last_ms)))
    total = sum(number for number, _ in told)
    all_times = [time for _, times in told if times is not None for time in times]
    first_ms, last_ms = min(all_times, default=None), max(all_times, default=None)
    expected = Counts(total, total, total, total, total, total, first_ms, last_ms)
    assert tally.counts == expected


def test_a_key_that_several_reports_tell_is_one() -> None:
    tally = Tally()
    tally.add_report(Report(keys=[b"12345678", b"abcdefgh"]))
    tally.add_report(Report(keys=[b"abcdefgh"]))
    assert tally.summary(1.0)["partition_keys"] == 2


def test_an_extended_suspension_is_one_suspension_and_lasts_to_its_new_end() -> None:
    tally = Tally()
    tally.add_action(OutcomeKind.SUSPENDED, action("a", 1_000, 10_000))
    tally.add_action(OutcomeKind.EXTENDED, action("a", 9_000, 10_000))
    tally.add_action(OutcomeKind.SUSPENDED, action("a", 50_000, 20_000))
    tally.add_action(OutcomeKind.SUSPENDED, action("b", 60_000, 1_000))
    first, second = tally.suspended.values()
    assert (first.suspensions, first.extensions, first.suspended_ms) == (2, 1, 18_000 + 20_000)
    assert first.first.issued_at_ms == 1_000
    assert (second.suspensions, second.extensions, second.suspended_ms) == (1, 0, 1_000)
    assert (tally.summary(1.0)["suspensions"], tally.summary(1.0)["extensions"]) == (3, 1)


def test_keys_of_one_name_in_two_tables_or_of_two_types_are_two() -> None:
    tally = Tally()
    for table, key_type in (("visits", "S"), ("other", "S"), ("visits", "N")):
        tally.add_action(OutcomeKind.SUSPENDED, action("7", 1_000, 10_000, table, key_type))
    assert len(tally.suspended) == 3


def test_the_peak_of_a_key_is_the_most_that_it_consumed_in_one_window() -> None:
    tally = Tally()
    for consumed_wcu in (80, 95, 90):
        tally.add_window(window("a", consumed_wcu))
    tally.add_window(window("a", 81, table="other"))
    assert tally.peaks == {("visits", "a"): Peak(95, 100), ("other", "a"): Peak(81, 100)}


def test_near_their_limit_are_those_that_were_not_suspended_the_nearest_first() -> None:
    tally = Tally()
    for line in (window("a", 85), window("b", 990, 1_000), window("c", 85), window("d", 170)):
        tally.add_window(line)
    tally.add_action(OutcomeKind.SUSPENDED, action("d", 1_000, 10_000))
    assert [(key, peak.share) for _, key, peak in tally.near()] == [("b", 0.99), ("a", 0.85), ("c", 0.85)]


def test_of_very_many_peaks_the_highest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "_MOST_PEAKS", 10)
    tally = Tally()
    for number in range(100):
        tally.add_window(window(f"k{number}", number * 7 % 100))
        assert len(tally.peaks) <= 10
    assert [peak.consumed_wcu for _, _, peak in tally.near()][:5] == [99, 98, 97, 96, 95]


reports = st.builds(
    Report,
    st.builds(Counts, *[st.integers(0, 2**60)] * 6, st.none() | st.integers(), st.none() | st.integers()),
    st.lists(st.builds(malformed_line, st.text(), st.just(POSITION), st.binary(max_size=20))),
    st.lists(
        st.builds(
            late_line,
            st.builds(
                WriteCost,
                st.text(),
                st.text(),
                st.just("S"),
                st.integers(0, 2**60),
                st.integers(0, 9),
                st.just(False),
                st.just(0),
            ),
            st.integers(0, 2**60),
            st.just(POSITION),
        )
    ),
    st.lists(st.binary(min_size=8, max_size=8)),
)


@given(reports)
def test_a_report_is_one_line_that_can_be_read_back(report: Report) -> None:
    line = write_report(report)
    assert "\n" not in line
    assert read_report(line) == report


def kept(record: bytes) -> str:
    text = malformed_line("because", POSITION, record)["record"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("longer_bytes", [-1, 0, 1, 10_000])
def test_a_record_is_cut_at_4_kib(longer_bytes: int) -> None:
    record = b"x" * (KEPT_OF_RECORD_BYTES + longer_bytes)
    assert kept(record) == "x" * min(len(record), 4096)


@pytest.mark.parametrize("character", ["\u00e9", "\u20ac", "\U0001f600"])
@pytest.mark.parametrize("before", range(4092, 4098))
def test_a_character_on_the_cut_is_left_out_whole(before: int, character: str) -> None:
    text = "x" * before + character * 3
    assert text.startswith(kept(text.encode()))
    assert len(kept(text.encode()).encode()) > 4092


@given(st.binary(max_size=20).map(lambda some: some * 500) | st.binary(max_size=200))
def test_no_bytes_make_a_line_of_more_than_4_kib(record: bytes) -> None:
    assert len(kept(record).encode()) <= 4096


def test_bytes_that_are_not_utf8_appear_by_their_numbers() -> None:
    assert kept(b"a\xff\xc3(\xe2\x82") == "a\\xff\\xc3(\\xe2\\x82"
    assert kept("caf\u00e9".encode()) == "caf\u00e9"
