import math
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.capacity.limits import Limit, Limits
from jobs.settings import LimitRule, LimitsSettings

TABLE = "invoices"

patterns = st.text("ab*?[", min_size=1, max_size=6)
keys = st.text("ab[", max_size=8)


def rule(partition_key: str | None = None, wcu: int | None = 500, **fields: Any) -> LimitRule:
    return LimitRule(**{"table": TABLE, "partition_key": partition_key, "wcu": wcu} | fields)


def exempt(partition_key: str | None = None) -> LimitRule:
    return rule(partition_key, None, exempt=True)


def limits(*rules: LimitRule, default_wcu: int = 1000, warn_ratio: Decimal = Decimal("0.8")) -> Limits:
    return Limits(LimitsSettings(default_wcu=default_wcu, warn_ratio=warn_ratio, rules=rules))


def matches(pattern: str, partition_key: str) -> bool:
    return limits(rule(pattern)).limit_for(TABLE, partition_key).rule != "default"


def matches_by_definition(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches_by_definition(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and matches_by_definition(pattern[1:], text[1:])


def test_without_rules_the_default_holds() -> None:
    assert limits().limit_for(TABLE, "account-1") == Limit(wcu=1000, warn_wcu=800, rule="default")


def test_a_rule_for_the_table_wins_over_the_default() -> None:
    assert limits(rule()).limit_for(TABLE, "account-1") == Limit(wcu=500, warn_wcu=400, rule="invoices")


@pytest.mark.parametrize("order", [1, -1], ids=["pattern last", "pattern first"])
def test_a_rule_for_the_key_wins_over_the_table_in_any_order(order: int) -> None:
    found = limits(*[rule(), rule("account-*", 200)][::order])
    assert found.limit_for(TABLE, "account-1") == Limit(wcu=200, warn_wcu=160, rule="invoices/account-*")
    assert found.limit_for(TABLE, "session-1").rule == "invoices"


def test_a_key_that_no_pattern_matches_falls_to_the_default_without_a_table_rule() -> None:
    assert limits(rule("account-*")).limit_for(TABLE, "session-1").rule == "default"


@pytest.mark.parametrize("table", ["invoice", "invoices2", "Invoices", ""])
def test_rules_hold_for_their_own_table_only(table: str) -> None:
    found = limits(rule(), rule("account-*"))
    assert found.limit_for(table, "account-1").rule == "default"


@pytest.mark.parametrize("order", [1, -1], ids=["as written", "reversed"])
def test_more_literal_characters_win_in_any_order(order: int) -> None:
    written = [rule("*", 1), rule("account-*", 2), rule("account-0*", 3), rule("account-00", 4)]
    found = limits(*written[::order])
    keys = ["session-1", "account-1", "account-01", "account-00"]
    assert [found.limit_for(TABLE, key).wcu for key in keys] == [1, 2, 3, 4]


def test_wildcards_are_no_literal_characters() -> None:
    found = limits(rule("a?????*", 1), rule("ac*", 2))
    assert found.limit_for(TABLE, "account").wcu == 2


def test_with_equally_many_literal_characters_the_earlier_rule_wins() -> None:
    found = limits(rule("*-17", 1), rule("acc*", 2), rule("?????nt-17", 3), rule("a*7?", 4), rule("a*17", 5))
    assert found.limit_for(TABLE, "account-17").rule == "invoices/?????nt-17"
    assert limits(rule("*-17", 1), rule("acc*", 2)).limit_for(TABLE, "account-17").wcu == 1
    assert limits(rule("acc*", 2), rule("*-17", 1)).limit_for(TABLE, "account-17").wcu == 2


@pytest.mark.parametrize(
    ("pattern", "key", "matched"),
    [
        ("account", "account", True),
        ("account", "account-1", False),
        ("account", "my-account", False),
        ("account", "Account", False),
        ("*", "", True),
        ("?", "", False),
        ("?", "x", True),
        ("?", "😀", True),
        ("?", "xy", False),
        ("a*", "a\nb", True),
        ("a?b", "a\nb", True),
        ("account", "account\n", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("**", "anything", True),
        ("*?", "", False),
        ("[ab]", "[ab]", True),
        ("[ab]", "a", False),
        ("[!a]*", "[!a]1", True),
        ("[", "[", True),
        ("]", "]", True),
        ("a.c", "abc", False),
        ("a\\*", "a\\b", True),
        ("$^()+|{}", "$^()+|{}", True),
    ],
)
def test_a_pattern_matches_the_whole_key_and_knows_only_star_and_question_mark(
    pattern: str, key: str, matched: bool
) -> None:
    assert matches(pattern, key) is matched


@given(patterns, keys)
def test_patterns_match_as_defined(pattern: str, key: str) -> None:
    assert matches(pattern, key) is matches_by_definition(pattern, key)


@pytest.mark.timeout(10)
def test_no_key_makes_matching_slow() -> None:
    assert not matches("*a" * 60 + "b", "a" * 2048)


@pytest.mark.parametrize("rules", [[exempt("root")], [exempt(), rule("account-*")], [exempt("*"), rule()]])
def test_an_exempt_key_has_no_limit(rules: list[LimitRule]) -> None:
    found = limits(*rules).limit_for(TABLE, "root")
    assert (found.wcu, found.warn_wcu) == (None, None)
    assert found.rule.startswith("invoices")


def test_a_limit_can_hold_for_some_keys_of_an_exempt_table() -> None:
    assert limits(exempt(), rule("account-*", 7)).limit_for(TABLE, "account-1").wcu == 7


@pytest.mark.parametrize(
    ("wcu", "ratio", "warn_wcu"),
    [
        (1000, "0.8", 800),
        (1001, "0.8", 801),
        (1004, "0.8", 804),
        (1005, "0.8", 804),
        (1006, "0.8", 805),
        (100, "0.07", 7),  # in floats this product is above 7
        (1, "0.8", 1),
        (1, "0.000001", 1),
        (10**12, "0.333333", 333_333_000_000),
        (999_999_999_999, "0.000001", 1_000_000),
        (1000, "1", 1000),
    ],
)
def test_the_warn_level_is_the_exact_product_rounded_up(wcu: int, ratio: str, warn_wcu: int) -> None:
    found = limits(default_wcu=wcu, warn_ratio=Decimal(ratio)).limit_for(TABLE, "account-1")
    assert found == Limit(wcu, warn_wcu, "default")


@given(st.integers(1, 10**12), st.integers(1, 10**6))
def test_the_warn_level_is_the_smallest_whole_number_that_reaches_the_ratio(wcu: int, millionths: int) -> None:
    ratio = Decimal(millionths).scaleb(-6)
    warn_wcu = limits(default_wcu=wcu, warn_ratio=ratio).lowest_warn_wcu
    assert warn_wcu == math.ceil(Fraction(millionths * wcu, 10**6))
    assert 1 <= warn_wcu <= wcu


@pytest.mark.parametrize(
    ("rules", "lowest"),
    [
        ([], 800),
        ([rule(wcu=2000)], 800),
        ([rule(wcu=999)], 800),
        ([rule(wcu=998)], 799),
        ([rule("account-*", 10)], 8),
        ([rule(wcu=20), rule("account-*", 10), rule("session-*", 30)], 8),
        ([exempt()], 800),
        ([exempt("*"), rule(wcu=10)], 8),
    ],
    ids=str,
)
def test_the_lowest_warn_level_is_over_the_default_and_all_rules(rules: list[LimitRule], lowest: int) -> None:
    assert limits(*rules).lowest_warn_wcu == lowest


@given(
    st.lists(st.tuples(st.none() | patterns, st.none() | st.integers(1, 2000)), unique_by=lambda r: r[0]),
    keys,
)
def test_no_limit_warns_below_the_lowest_warn_level(rules: list[tuple[str | None, int | None]], key: str) -> None:
    found = limits(*(rule(pattern, wcu, exempt=wcu is None) for pattern, wcu in rules))
    for table in (TABLE, "sessions"):
        warn_wcu = found.limit_for(table, key).warn_wcu
        assert warn_wcu is None or warn_wcu >= found.lowest_warn_wcu


def test_limits_stay_right_and_small_however_many_keys_there_are() -> None:
    found = limits(rule("account-*7", 7))
    for _ in range(2):
        wcus = [found.limit_for(TABLE, f"account-{number}").wcu for number in range(10_000)]
        assert wcus == [7 if number % 10 == 7 else 1000 for number in range(10_000)]
    assert found._remembered.cache_info().currsize == 4096


def test_limits_travel_to_workers() -> None:
    travelled = pickle.loads(pickle.dumps(limits(exempt("root"), rule("a[*", 7))))  # noqa: S301 - pickled here
    assert travelled.limit_for(TABLE, "a[1").wcu == 7
    assert travelled.limit_for(TABLE, "root").wcu is None
