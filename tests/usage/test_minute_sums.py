"""Sums of a minute add up to the same rows however they travel, and each goes to the file that its key determines."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from jobs.recorded.distinct import Key
from jobs.usage.deduplicate import Copy, taken_away
from jobs.usage.ledger_paths import file_of
from jobs.usage.minute_sums import (
    WINDOW_MS,
    FileLayout,
    KeySum,
    MinuteSums,
    added_up,
    decode_sums,
    encode_sums,
    ledger_rows,
)

LAYOUT = FileLayout(span_ms=900_000, buckets=4)
AT_MS = 1_800_000_000_000

keys = st.tuples(st.sampled_from(["t", "other"]), st.text(max_size=4), st.sampled_from("SNB"))
minutes = st.sampled_from([AT_MS, AT_MS + WINDOW_MS])
corrected = st.sampled_from([None, AT_MS - WINDOW_MS])


@st.composite
def key_sums(draw: st.DrawFn) -> tuple[Key, int, KeySum]:
    """A change, or what a copy of one takes away, with its key and window."""
    key, sign = draw(keys), draw(st.sampled_from([1, 1, -1]))
    wcu, size_bytes = draw(st.integers(0, 9)) * sign, draw(st.integers(0, 999)) * sign
    event_name = draw(st.sampled_from(["INSERT", "REMOVE"]))
    sums = KeySum(key[1], key[2], event_name, draw(corrected), wcu, sign if wcu else 0, size_bytes, sign)
    return key, draw(minutes), sums


@given(st.lists(key_sums(), max_size=30), st.integers(1, 5))
def test_parts_in_any_number_add_up_to_what_each_key_has(told: list[tuple[Key, int, KeySum]], parts: int) -> None:
    expected: dict[tuple[str, int, tuple[object, ...]], Counter[int]] = {}
    files: dict[str, list[MinuteSums]] = {}
    for part in range(parts):
        for minute_ms in {minute_ms for _, minute_ms, _ in told}:
            here = [(key[0], sums) for key, at_ms, sums in told[part::parts] if at_ms == minute_ms]
            for path, part_sums in LAYOUT.dealt(minute_ms, here):
                files.setdefault(path, []).append(decode_sums(encode_sums(part_sums)))
    for key, minute_ms, sums in told:
        path = file_of(*key, minute_ms, span_ms=LAYOUT.span_ms, buckets=LAYOUT.buckets).path
        total = expected.setdefault((path, minute_ms, sums[:4]), Counter())
        total.update(dict(enumerate(sums[4:])))
    found = {
        (path, minute.window_start_ms, tuple(each[:4])): dict(enumerate(each[4:]))
        for path, of_file in files.items()
        for minute in added_up(of_file)
        for each in minute.sums
    }
    assert found == {group: dict(total) for group, total in expected.items() if total[3] > 0}


def test_what_copies_added_is_taken_away_and_leaves_no_row() -> None:
    copy = Copy("e", ("t", "k", "S"), "a.jsonl", AT_MS + 70_000, AT_MS, 3, 100, "INSERT", is_conflict=False)
    counted = KeySum("k", "S", "INSERT", AT_MS, 3, 1, 100, 1)
    [(path, once)] = LAYOUT.dealt(AT_MS + WINDOW_MS, [(copy.key[0], counted)])
    assert list(taken_away([copy], 2_000, LAYOUT)) == [
        (path, MinuteSums("t", AT_MS + WINDOW_MS, [KeySum("k", "S", "INSERT", AT_MS, -3, -1, -100, -1)]))
    ]
    away = [sums for _, sums in taken_away([copy], 2_000, LAYOUT)]
    assert ledger_rows(added_up([once, *away])) == []
    [left] = ledger_rows(added_up([once, *away, once]))
    assert (left.window_start_ms, left.corrects, left.wcu, left.writes) == (AT_MS + WINDOW_MS, AT_MS, 3, 1)


def test_a_file_ends_with_the_span_of_its_windows() -> None:
    assert [LAYOUT.end_ms(at_ms) for at_ms in (899_999, 900_000, 900_001)] == [900_000, 1_800_000, 1_800_000]
