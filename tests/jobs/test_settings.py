import os
import pickle
import re
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs.settings import (
    LeaseSettings,
    LimitRule,
    LimitsSettings,
    Settings,
    SettingsError,
    TableSettings,
    WeighImages,
    WindowKind,
    WindowSettings,
    load_settings,
    schema,
)
from jobs.settings.durations import DAY_MS, format_duration, parse_duration
from jobs.settings.load import LARGEST_FILE_BYTES, parse_settings
from jobs.settings.read import Mistakes, read_settings
from jobs.settings.reference import example_file, reference_page, reference_table
from jobs.settings.render import count_given, count_left_at_default, to_toml
from jobs.settings.section import DURATION

ROOT = Path(__file__).parents[2]
UNHURRIED = examples(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
REWRITE = "run `python -m jobs.settings` in the root of the project"


def problems(toml: str | bytes) -> list[str]:
    """The problems of a settings file with this content, without the file's name before each."""
    content = toml.encode() if isinstance(toml, str) else toml
    with pytest.raises(SettingsError) as caught:
        parse_settings(content, "h.toml")
    assert all(problem.startswith("h.toml: ") for problem in caught.value.problems)
    return [problem.removeprefix("h.toml: ") for problem in caught.value.problems]


def settings(toml: str) -> Settings:
    return parse_settings(toml.encode(), "h.toml")


# Durations


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("0s", 0),
        ("1ms", 1),
        ("500ms", 500),
        ("5s", 5_000),
        ("2m", 120_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("1m30s", 90_000),
        ("1d1h1m1s1ms", 90_061_001),
        ("120000ms", 120_000),
        ("90s", 90_000),
    ],
)
def test_duration_is_the_sum_of_its_parts(text: str, duration_ms: int) -> None:
    assert parse_duration(text) == duration_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "-5s",
        "+5s",
        "1.5s",
        "5 s",
        " 5s",
        "5s\n",
        "5S",
        "5x",
        "5min",
        "30s1m",
        "1s1s",
        "\u0665s",
        "9" * 99 + "s",
    ],
)
def test_other_text_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@UNHURRIED
@given(st.integers(min_value=0, max_value=10**15))
def test_duration_reads_back_as_it_was(duration_ms: int) -> None:
    assert parse_duration(format_duration(duration_ms)) == duration_ms


@UNHURRIED
@given(st.text(alphabet="0123456789dhms. -", max_size=12))
def test_duration_that_is_read_equals_the_one_written_back(text: str) -> None:
    duration_ms = parse_duration(text)
    assert duration_ms is None or parse_duration(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize(("duration_ms", "text"), [(90_000, "1m30s"), (120_000, "2m"), (0, "0s"), (1_001, "1s1ms")])
def test_duration_is_written_in_the_fewest_parts(duration_ms: int, text: str) -> None:
    assert format_duration(duration_ms) == text


def test_negative_duration_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="never negative"):
        format_duration(-1)


# Values


def test_without_a_file_all_settings_are_the_defaults() -> None:
    defaults = load_settings(None).model_dump()
    del defaults["spot"]  # held to the values that rivals publish in test_spot_settings.py
    assert defaults == {
        "shadow": False,
        "window": {"size_ms": 120_000, "step_ms": 5_000, "kind": "cumulate", "out_of_orderness_ms": 2_000},
        "limits": {"default_wcu": 6_000, "warn_ratio": Decimal("0.8"), "rules": ()},
        "lease": {"steps_ms": (120_000, 300_000, 600_000), "decay_ms": 3_600_000},
        "decode": {"weigh_images": "when_needed", "future_tolerance_ms": 3_600_000},
        "usage": {
            "horizon_ms": 86_400_000,
            "sink": "parquet",
            "ledger": "headroom-ledger",
            "delivery_stream": "headroom-usage",
            "region": None,
            "endpoint_url": None,
            "file_span_ms": 900_000,
            "buckets": 4,
        },
        "kinesis": {
            "stream": None,
            "region": None,
            "endpoint_url": None,
            "initial_position": "latest",
            "reader": "python",
            "jar": None,
            "poll_interval_ms": 250,
            "margin_ms": 1_000,
            "subtasks": 1,
            "discovery_interval_ms": 10_000,
            "max_drift_ms": 30_000,
        },
        "sqs": {"queue_url": None, "region": None, "endpoint_url": None},
        "rules": {"file": None, "stream": None, "check_ms": 5_000, "lowest_warn_wcu": 1_000},
        "tables": {},
    }


def test_an_empty_file_is_the_defaults() -> None:
    assert settings("") == Settings()


def test_a_file_gives_every_kind_of_setting() -> None:
    found = settings(
        """
        shadow = true
        window = { size = "10m", step = "1m", kind = "hop", out_of_orderness = "0s" }
        [limits]
        default_wcu = 4_000
        warn_ratio = 0.75
        [[limits.rules]]
        table = "orders"
        partition_key = "shop-[7]?*"
        wcu = 9000
        [[limits.rules]]
        table = "orders"
        exempt = true
        [lease]
        steps = ["1m", "1m", "2m"]
        decay = "0s"
        [decode]
        weigh_images = "always"
        future_tolerance = "5m"
        [tables."orders.v2"]
        partition_key = "shop"
        transactional = true
        """
    )
    assert found.shadow is True
    assert found.window == WindowSettings(size_ms=600_000, step_ms=60_000, kind=WindowKind.HOP, out_of_orderness_ms=0)
    assert found.limits.default_wcu == 4_000
    assert found.limits.rules == (
        LimitRule(table="orders", partition_key="shop-[7]?*", wcu=9_000),
        LimitRule(table="orders", exempt=True),
    )
    assert found.lease == LeaseSettings(steps_ms=(60_000, 60_000, 120_000), decay_ms=0)
    assert found.decode.weigh_images is WeighImages.ALWAYS
    assert found.decode.future_tolerance_ms == 300_000
    assert found.tables == {"orders.v2": TableSettings(partition_key="shop", transactional=True)}


def test_warn_ratio_is_exactly_what_the_file_says() -> None:
    ratio = settings("limits.warn_ratio = 0.1").limits.warn_ratio
    assert ratio * 3 == Decimal("0.3")


def test_warn_ratio_may_be_a_whole_number() -> None:
    assert settings("limits.warn_ratio = 1").limits.warn_ratio == 1


def test_settings_are_frozen_closed_and_strict() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().shadow = True
    with pytest.raises(ValidationError, match="Extra inputs"):
        WindowSettings.model_validate({"sise_ms": 1_000})
    with pytest.raises(ValidationError, match="valid integer"):
        WindowSettings.model_validate({"size_ms": "120000"})


def test_conflicts_are_refused_in_code_as_in_a_file() -> None:
    with pytest.raises(ValidationError, match="not a multiple"):
        WindowSettings(size_ms=7_000, step_ms=2_000)
    with pytest.raises(ValidationError, match="sets no limit"):
        LimitRule(table="orders")
    with pytest.raises(ValidationError, match=r"rules\[1\]: has the table and partition_key of limits.rules\[0\]"):
        LimitsSettings(rules=(LimitRule(table="a", wcu=1), LimitRule(table="a", wcu=2)))
    with pytest.raises(ValidationError, match="lapse before"):
        Settings(window=WindowSettings(step_ms=60_000), lease=LeaseSettings(steps_ms=(1_000,)))


def test_settings_travel_to_other_processes() -> None:
    sent = settings('[[limits.rules]]\ntable = "a"\nwcu = 5')
    assert pickle.loads(pickle.dumps(sent)) == sent  # noqa: S301 - made here
    error = SettingsError(("one", "two"))
    assert pickle.loads(pickle.dumps(error)).problems == ("one", "two")  # noqa: S301 - made here


# Ranges: below, equal, above, at both ends

RULE = '[[limits.rules]]\ntable = "a"\n'


@pytest.mark.parametrize(
    ("toml", "setting"),
    [
        ('window = { size = "100ms", step = "99ms" }', "window.step"),
        ('window = { size = "99ms", step = "100ms" }', "window.size"),
        ('window = { size = "1d1ms", step = "2m" }', "window.size"),
        ('window.out_of_orderness = "1h1ms"', "window.out_of_orderness"),
        ('window.out_of_orderness = "-1s"', "window.out_of_orderness"),
        ("limits.default_wcu = 0", "limits.default_wcu"),
        ("limits.default_wcu = 1_000_000_000_001", "limits.default_wcu"),
        ("limits.warn_ratio = 0.0", "limits.warn_ratio"),
        ("limits.warn_ratio = 1.000001", "limits.warn_ratio"),
        ("limits.warn_ratio = 0.1234567", "limits.warn_ratio"),
        (f"{RULE}wcu = 0", "limits.rules[0].wcu"),
        ('lease.steps = ["5s", "1d1ms"]', "lease.steps[1]"),
        ('lease.decay = "365d1ms"', "lease.decay"),
        ('decode.future_tolerance = "999ms"', "decode.future_tolerance"),
        ('decode.future_tolerance = "1d1ms"', "decode.future_tolerance"),
    ],
)
def test_just_outside_the_range_is_refused(toml: str, setting: str) -> None:
    assert setting in [problem.split(": ")[0] for problem in problems(toml)]


@pytest.mark.parametrize(
    "toml",
    [
        'window = { size = "100ms", step = "100ms" }',
        'window = { size = "200ms", step = "100ms" }',
        'window = { size = "1d", step = "2m" }',
        'window.out_of_orderness = "0s"',
        'window.out_of_orderness = "1ms"',
        'window.out_of_orderness = "1h"',
        "limits.default_wcu = 1",
        "limits.default_wcu = 2",
        "limits.default_wcu = 1_000_000_000_000",
        "limits.warn_ratio = 0.000001",
        "limits.warn_ratio = 0.999999",
        "limits.warn_ratio = 1.0",
        f"{RULE}wcu = 1",
        'lease.steps = ["5s", "1d"]',
        'lease.decay = "365d"',
        'decode.future_tolerance = "1s"',
        'decode.future_tolerance = "1d"',
    ],
)
def test_the_ends_of_the_range_are_allowed(toml: str) -> None:
    assert count_given(settings(toml)) > 0


# Conflicts


def test_size_is_a_multiple_of_step() -> None:
    assert settings('window = { size = "6s", step = "2s" }').window.size_ms == 6_000
    for size, nearest in [("5s", '"4s" or "6s"'), ("7s", '"6s" or "8s"'), ("1s", '"2s"')]:
        text = f'window.size: "{size}" is not a multiple of window.step, "2s"; nearest: {nearest}'
        assert problems(f'window = {{ size = "{size}", step = "2s" }}') == [text]


def test_size_alone_is_held_against_the_default_step() -> None:
    assert problems('window.size = "12s"') == [
        'window.size: "12s" is not a multiple of window.step, "5s"; nearest: "10s" or "15s"'
    ]


def test_a_window_has_at_most_1000_steps() -> None:
    assert settings('window = { size = "99900ms", step = "100ms" }').window.step_ms == 100
    assert settings('window = { size = "100s", step = "100ms" }').window.step_ms == 100
    assert problems('window = { size = "100s100ms", step = "100ms" }') == [
        'window.size: "1m40s100ms" has more than 1000 steps of "100ms" (window.step)'
    ]


def test_a_lease_is_at_least_a_step() -> None:
    assert settings('lease.steps = ["5s"]').lease.steps_ms == (5_000,)
    assert settings('lease.steps = ["5s1ms"]').lease.steps_ms == (5_001,)
    (problem,) = problems('lease.steps = ["4s999ms"]')
    assert problem.startswith('lease.steps[0]: "4s999ms" is shorter than window.step, "5s"; it would lapse')


def test_leases_never_get_shorter() -> None:
    assert settings('lease.steps = ["5m", "5m", "5m1ms"]').lease.steps_ms == (300_000, 300_000, 300_001)
    assert problems('lease.steps = ["5m", "4m59s999ms"]') == [
        'lease.steps[1]: "4m59s999ms" is shorter than the one before it, "5m"'
    ]


def test_there_is_at_least_one_lease() -> None:
    assert problems("lease.steps = []") == [
        "lease.steps: an empty array is not allowed; "
        'it takes an array of at least one, each a duration from "100ms" to "1d"'
    ]


def test_a_rule_has_either_wcu_or_exempt() -> None:
    assert settings(f"{RULE}exempt = false\nwcu = 5").limits.rules[0].wcu == 5
    assert problems(RULE) == ["limits.rules[0]: sets no limit; give wcu, or exempt = true"]
    assert problems(f"{RULE}exempt = false") == problems(RULE)
    assert problems(f"{RULE}exempt = true\nwcu = 5") == [
        "limits.rules[0]: wcu and exempt = true exclude each other; keep one of them"
    ]


def test_a_rule_names_its_table() -> None:
    missing = ["limits.rules[0].table: missing; it takes text, not empty"]
    assert problems("[[limits.rules]]\nwcu = 5") == missing
    assert problems('[[limits.rules]]\ntable = ""\nwcu = 5') == [
        'limits.rules[0].table: "" is not allowed; it takes text, not empty'
    ]
    for table in ("conv*", "conv?"):
        (problem,) = problems(f'[[limits.rules]]\ntable = "{table}"\nwcu = 5')
        assert problem.startswith(f'limits.rules[0].table: "{table}" can match no table')


def test_two_rules_for_the_same_keys_are_refused() -> None:
    assert problems(f'{RULE}wcu = 1\n{RULE}partition_key = "x"\nwcu = 2\n{RULE}exempt = true') == [
        "limits.rules[2]: has the table and partition_key of limits.rules[0] again; keep one of them"
    ]


def test_a_table_has_a_name() -> None:
    assert problems('[tables.""]') == ['tables."": a table has a name']


# All mistakes together


def test_mistakes_of_every_kind_are_told_together() -> None:
    assert problems(
        """
        shdow = true
        [window]
        size = "7s"
        step = "2s"
        out_of_orderness = 5
        sise = "2m"
        [limits]
        default_wcu = 0.5
        [[limits.rules]]
        table = "a"
        wcu = 0
        [[limits.rules]]
        table = "b"
        [[limits.rules]]
        table = "b"
        wcu = 5
        exempt = true
        [lease]
        steps = ["1s", "5m", "3m", "forever"]
        [tables.orders]
        transactional = "yes"
        """
    ) == [
        "unknown setting shdow; did you mean shadow?",
        'window.out_of_orderness: 5 has no unit; write "5s"',
        "unknown setting window.sise; did you mean window.size?",
        'window.size: "7s" is not a multiple of window.step, "2s"; nearest: "6s" or "8s"',
        "limits.default_wcu: 0.5 is not allowed; it takes a whole number from 1 to 1000000000000",
        "limits.rules[0].wcu: 0 is not allowed; it takes a whole number from 1 to 1000000000000",
        "limits.rules[1]: sets no limit; give wcu, or exempt = true",
        "limits.rules[2]: wcu and exempt = true exclude each other; keep one of them",
        "limits.rules[2]: has the table and partition_key of limits.rules[1] again; keep one of them",
        'lease.steps[3]: "forever" is not allowed; it takes a duration from "100ms" to "1d"',
        'lease.steps[2]: "3m" is shorter than the one before it, "5m"',
        'tables.orders.transactional: "yes" is not allowed; it takes true or false',
        'lease.steps[0]: "1s" is shorter than window.step, "2s"; it would lapse before it can be extended',
    ]


def test_a_refused_value_is_held_against_nothing() -> None:
    """Neither the refused step nor its default says anything about the size."""
    assert problems('window = { size = "7s", step = "1s " }') == [
        'window.step: "1s " is not allowed; it takes a duration from "100ms" to "1d"'
    ]
    assert len(problems(f'{RULE}wcu = "5"')) == 1


@pytest.mark.parametrize(
    ("toml", "suggestion"),
    [
        ("window.sise = 1", "did you mean window.size?"),
        ("window.size_ms = 1", "did you mean window.size?"),
        ("WINDOW.size = 1", "did you mean window?"),
        ("limits.default-wcu = 1", "did you mean limits.default_wcu?"),
        ("limits.wcu = 1", "did you mean limits.rules[].wcu?"),
        ("decay = 1", "did you mean lease.decay?"),
        (f"{RULE}wcu = 1\nexemptt = true", "did you mean limits.rules[0].exempt?"),
        ("tables.a.sort = 1", "known here are partition_key, transactional"),
        ("zzz = 1", "known here are shadow, window, limits, lease, decode, usage, kinesis, sqs, rules, tables, spot"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(toml: str, suggestion: str) -> None:
    (problem,) = problems(toml)
    assert problem.startswith("unknown setting ")
    assert problem.endswith(f"; {suggestion}")


UNIT_ADVICE = 'write its unit in quotes with it, as in "5s" or "500ms"'


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("5", '5 has no unit; write "5s"'),
        ("0", '0 has no unit; write "0s"'),
        ("86399", '86399 has no unit; write "86399s"'),
        ("86400", f"86400 has no unit; {UNIT_ADVICE}"),
        ("-1", f"-1 has no unit; {UNIT_ADVICE}"),
        ("0.5", f"0.5 has no unit; {UNIT_ADVICE}"),
        ("true", 'true is not allowed; it takes a duration from "100ms" to "1d"'),
        ('"5"', '"5" is not allowed; it takes a duration from "100ms" to "1d"'),
    ],
)
def test_a_duration_without_a_unit_is_refused_with_advice(value: str, advice: str) -> None:
    assert problems(f"window.step = {value}") == [f"window.step: {advice}"]


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("window = 3", "window: 3 is not allowed; it takes a table, written [window]"),
        ("[[window]]", "window: an array of 1 is not allowed; it takes a table, written [window]"),
        (
            "[limits.rules]",
            "limits.rules: a table is not allowed; it takes an array of tables, written [[limits.rules]]",
        ),
        ("limits.rules = [1]", "limits.rules[0]: 1 is not allowed; it takes a table"),
        ('tables = "a"', 'tables: "a" is not allowed; it takes a table of tables, written [tables.<name>]'),
        ('[tables]\npartition_key = "a"', 'tables.partition_key: "a" is not allowed; it takes a table'),
        (
            'limits.default_wcu = "6000"',
            'limits.default_wcu: "6000" is not allowed; it takes a whole number from 1 to 1000000000000',
        ),
        ('window.kind = "tumble"', 'window.kind: "tumble" is not allowed; it takes "cumulate" or "hop"'),
        ("window.kind = 1979-05-27", 'window.kind: 1979-05-27 is not allowed; it takes "cumulate" or "hop"'),
        ("shadow = 1", "shadow: 1 is not allowed; it takes true or false"),
        ("shadow = {}", "shadow: a table is not allowed; it takes true or false"),
        (
            r'[tables."a\u001b[31m"]' + "\ntransactional = 1",
            r'tables."a\u001b[31m".transactional: 1 is not allowed; it takes true or false',
        ),
    ],
)
def test_a_value_of_another_type_is_told_with_what_is_allowed(toml: str, problem: str) -> None:
    assert problems(toml) == [problem]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", '"0.8"', "true", "[0.8]", "0x" + "f" * 9_000])
def test_warn_ratio_is_a_number_between_0_and_1(value: str) -> None:
    (problem,) = problems(f"limits.warn_ratio = {value}")
    assert problem.startswith("limits.warn_ratio: ")


# Files


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("[window]\nsize = ", "line 2: not valid TOML: Invalid value, in: size ="),
        (
            "[window]\nsize = 2m\n",
            "line 2, column 9: not valid TOML: Expected newline or end of document after a statement, "
            'in: size = 2m (a duration stands in quotes: "2m")',
        ),
        (
            '[lease]\n\nsteps = [1m30s, "5m"]',
            'line 3, column 11: not valid TOML: Unclosed array, in: steps = [1m30s, "5m"] '
            '(a duration stands in quotes: "1m30s")',
        ),
        (
            "[window]\r\n[window]\r\n",
            "line 2, column 8: not valid TOML: Cannot declare window twice, in: [window]",
        ),
        ("a = 1\na = 2\n\n\n", "line 2, column 6: not valid TOML: Cannot overwrite a value, in: a = 2"),
        ("a = '''\nx\n\n", "line 2: not valid TOML: Expected \"'''\", in: x"),
        ("[window]\n= \x1b[31m", "line 2, column 1: not valid TOML: Invalid statement, in: = \\u001b[31m"),
    ],
)
def test_a_syntax_error_names_its_line(toml: str, problem: str) -> None:
    assert problems(toml) == [problem]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[window]\nsize = '\xff'", "line 2: not UTF-8 text (byte 0xff)"),
        ("[window]".encode("utf-16"), "line 1: not UTF-8 text (byte 0xff)"),
        (b"a = " + b"[" * 100_000, "not valid TOML: nested too deeply"),
        (
            b"window.kind" + b".a" * 2_000 + b" = 1",
            'window.kind: a table is not allowed; it takes "cumulate" or "hop"',
        ),
        (b"window.step = 0x" + b"f" * 9_000, "window.step: a very large number has no unit; " + UNIT_ADVICE),
        (b"a = " + b"9" * 5_000, "not valid TOML: a number has too many digits"),
        (b"a = 1e" + b"9" * 30, "not valid TOML: a number has too many digits"),
    ],
)
def test_extreme_content_is_one_problem(content: bytes, problem: str) -> None:
    assert problems(content) == [problem]


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert parse_settings("\ufeffshadow = true".encode(), "h.toml").shadow is True


def test_a_file_is_read_and_named_in_its_problems(tmp_path: Path) -> None:
    file = tmp_path / "headroom.toml"
    file.write_text("shadow = true\n")
    assert load_settings(file) == Settings(shadow=True)
    file.write_text("shadow = 1\n")
    with pytest.raises(SettingsError, match="shadow: 1 is not allowed") as caught:
        load_settings(file)
    assert caught.value.problems[0].startswith(f"{file}: ")


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    loop, huge = tmp_path / "loop", tmp_path / "huge"
    loop.symlink_to(loop)
    huge.touch()
    os.truncate(huge, LARGEST_FILE_BYTES + 1)
    expected = {
        tmp_path / "none.toml": "no such file",
        tmp_path: "a directory, not a settings file",
        loop: "cannot be read: Too many levels of symbolic links",
        huge: "larger than 16 MiB, which no settings file is",
        Path("a\0b"): "no such file",
    }
    for path, problem in expected.items():
        with pytest.raises(SettingsError) as caught:
            load_settings(path)
        (found,) = caught.value.problems
        assert found.endswith(f": {problem}")
        assert found.isprintable()


# Any input at all

scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.decimals(),
    st.text(max_size=5),
    st.datetimes(),
    st.times(),
    st.sampled_from(["5s", "2m", "1h", "hop", "always", "1m1m", 0, 1, Decimal("0.5"), 10**300, -(10**300)]),
)
names = st.sampled_from(
    [name for setting in schema.settings() for name in setting.path.replace("[]", "").split(".")]
) | st.text(max_size=5)
toml_like = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=15,
)


@UNHURRIED
@given(st.dictionaries(names, toml_like, max_size=7))
def test_any_tables_are_settings_or_mistakes_told_in_one_line_each(tables: dict[str, Any]) -> None:
    outcome = read_settings(tables)
    if isinstance(outcome, Mistakes):
        assert outcome.problems
        assert all(str(problem).isprintable() for problem in outcome.problems)


@UNHURRIED
@given(
    st.binary(max_size=60)
    | st.text(alphabet="window=.[]{}'\"\n\\u0e9-_#, ", max_size=60).map(lambda text: text.encode())
)
def test_any_content_is_settings_or_problems(content: bytes) -> None:
    with suppress(SettingsError):  # any other exception fails the test
        assert parse_settings(content, "h.toml").window.size_ms > 0


# Writing


@st.composite
def any_settings(draw: st.DrawFn) -> Settings:
    text = st.text(min_size=1, max_size=12)
    step_ms = draw(st.integers(min_value=100, max_value=60_000))
    steps_ms = draw(st.lists(st.integers(min_value=step_ms, max_value=DAY_MS), min_size=1, max_size=4))
    subjects = draw(
        st.lists(
            st.tuples(text.filter(lambda name: not set(name) & set("*?")), st.none() | text),
            unique=True,
            max_size=4,
        )
    )
    limits = st.none() | st.integers(min_value=1, max_value=10**12)
    rules = [
        LimitRule(table=table, partition_key=pattern, wcu=wcu, exempt=wcu is None)
        for table, pattern, wcu in ((*subject, draw(limits)) for subject in subjects)
    ]
    window = WindowSettings(
        size_ms=step_ms * draw(st.integers(min_value=1, max_value=1_000)),
        step_ms=step_ms,
        kind=draw(st.sampled_from(WindowKind)),
        out_of_orderness_ms=draw(st.integers(min_value=0, max_value=3_600_000)),
    )
    ratio = draw(st.decimals(min_value=Decimal("0.000001"), max_value=1, places=6))
    table = st.builds(TableSettings, partition_key=st.none() | text, transactional=st.booleans())
    return Settings(
        shadow=draw(st.booleans()),
        window=window,
        limits=LimitsSettings(warn_ratio=ratio, rules=tuple(rules)),
        lease=LeaseSettings(steps_ms=tuple(sorted(steps_ms))),
        tables=draw(st.dictionaries(text, table, max_size=3)),
    )


@UNHURRIED
@given(any_settings())
def test_settings_written_as_toml_read_back_equal(written: Settings) -> None:
    assert settings(to_toml(written)) == written


def test_what_is_written_marks_the_defaults_and_only_them() -> None:
    lines = to_toml(settings('[window]\nsize = "2m"\n[tables."a b"]')).splitlines()
    assert 'size = "2m"' in lines
    assert 'step = "5s"  # default' in lines
    assert '[tables."a b"]' in lines
    assert "transactional = false  # default" in lines


def test_every_setting_is_either_given_or_left() -> None:
    nothing, some = settings(""), settings('[window]\nsize = "2m"\n' + RULE + "wcu = 5\n[tables.a]\n")
    every = sum(not set("[<") & set(setting.path) for setting in schema.settings())
    assert (count_given(nothing), count_left_at_default(nothing)) == (0, every)
    assert (count_given(some), count_left_at_default(some)) == (3, every - 1)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('sqs.queue_url = "https://sqs.eu-west-1.amazonaws.com/1/actions"', "sqs.queue_url: .*is no FIFO queue"),
        ('sqs.queue_url = "actions.fifo"', "sqs.queue_url: .*does not begin with https"),
        ('sqs.endpoint_url = "localhost:5000"', "sqs.endpoint_url: .*does not begin with https"),
        ('kinesis.endpoint_url = "localhost:5000"', "kinesis.endpoint_url: .*does not begin with https"),
        ('kinesis.initial_position = "newest"', "kinesis.initial_position: .*neither"),
        ('kinesis.reader = "aws"', "kinesis.jar: missing"),
        ('kinesis.reader = "java"', "kinesis.reader: "),
    ],
)
def test_a_stream_or_queue_that_cannot_be_meant_is_told(toml: str, said: str) -> None:
    (problem,) = problems(toml)
    assert re.match(said, problem)


@pytest.mark.parametrize(
    "toml",
    [
        'kinesis.initial_position = "2026-11-20T10:00:00Z"',
        'kinesis.initial_position = "trim_horizon"',
        'sqs.queue_url = "http://localhost:5000/123456789012/actions.fifo"',
    ],
)
def test_a_stream_or_queue_may_be_meant_so(toml: str) -> None:
    assert settings(toml) != Settings()


# The usage ledger


@pytest.mark.parametrize("span", ["1m", "15m", "1h"])
def test_a_span_of_files_divides_an_hour_into_whole_minutes(span: str) -> None:
    assert settings(f'[usage]\nfile_span = "{span}"').usage.file_span_ms


@pytest.mark.parametrize("span", ["7m", "90s"])
def test_any_other_span_of_files_is_refused(span: str) -> None:
    with pytest.raises(SettingsError, match="does not divide an hour"):
        settings(f'[usage]\nfile_span = "{span}"')


# Documentation


@pytest.mark.parametrize("setting", list(schema.settings()), ids=lambda setting: setting.path)
def test_every_setting_has_a_default_a_unit_a_check_and_a_meaning(setting: schema.Setting) -> None:
    name, field = setting.name, setting.field
    assert field.is_required() == (setting.path == "limits.rules[].table")
    assert schema.unit(field)
    assert schema.allowed(name, field)
    assert field.description
    assert "\n" not in field.description
    assert schema.is_duration(name) == (schema.unit(field) == DURATION.name)
    assert f"| `{setting.path}` |" in reference_table()
    assert f"| {field.description} |" in reference_table()


def test_the_reference_page_is_the_model_s() -> None:
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == reference_page(), REWRITE


def test_the_example_file_is_the_model_s_and_the_defaults() -> None:
    file = ROOT / "headroom.example.toml"
    assert file.read_text(encoding="utf-8") == example_file(), REWRITE
    assert load_settings(file) == Settings()
    without_default = [each for each in schema.settings() if "[]" not in each.path and "<" not in each.path]
    without_default = [each for each in without_default if each.field.default is None]
    assert count_left_at_default(load_settings(file)) == len(without_default)


def test_the_example_s_commented_settings_can_be_used() -> None:
    lines = example_file().splitlines()
    used = settings("\n".join(line if line.startswith("# ") else line.removeprefix("#") for line in lines))
    assert used.limits.rules == (LimitRule(table="conversations", partition_key="tenant-0001*", wcu=12_000),)
    assert used.tables == {"conversations": TableSettings(partition_key="pk")}
    assert count_given(used) == len(list(schema.settings()))
