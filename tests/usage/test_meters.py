"""Meters: what their headers say, what they find, and that nothing gets into a query but as a value."""

from collections import defaultdict
from decimal import Decimal
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.settings.durations import HOUR_MS
from jobs.usage.athena import ledger_ddl, other_ddl, prices_ddl
from jobs.usage.consumed import ConsumedCapacity, ConsumedError, read_consumed, write_consumed
from jobs.usage.ledger_rows import SCHEMA, LedgerRow
from jobs.usage.meter import MeterError, parse_meter
from jobs.usage.parameters import Kind, ParameterError
from jobs.usage.periods import ClosedPeriod
from jobs.usage.prices import PriceError, Tier, read_prices
from jobs.usage.query import MeterSession
from jobs.usage.shipped import shipped_meters
from tests.usage.ledgers import at, make_ledger, row

METERS = shipped_meters()
MONTH = {"month": "2026-11"}
DAYS = {"first_date": "2026-11-01", "last_date": "2026-11-30"}
HEAD = "-- meter: mine\n-- version: 1\n-- description: Mine.\n"
PRICES = """unit,above,up_to,price,per,currency
wcu,0,10,0,1,USD
wcu,10,100,0.625,1000000,USD
wcu,100,,0.5,1000000,USD
bytes_written,0,,0.09,1000000000,USD
"""
HOSTILE = ["o'clock", "a/b/../c", "new\nline\ttab", '"; DROP TABLE x; --', "\\", "$month", "ключ", "x" * 2048, "[bold]"]


def rows() -> list[tuple[str, LedgerRow]]:
    random = Random(4)
    keys = [*HOSTILE, *(f"tenant-{number}" for number in range(20))]
    made = [
        (
            random.choice(["conversations", "sessions"]),
            row(
                f"2026-{random.choice(['10', '11', '11', '12'])}-{random.randint(1, 30):02}"
                f" {random.choice(['00', '10', '23'])}:{random.randint(0, 59):02}",
                key=random.choice(keys),
                wcu=random.randint(0, 90),
                event_name=random.choice(["INSERT", "MODIFY"]),
            ),
        )
        for _ in range(3_000)
    ]
    made = [(table, each._replace(corrects=None)) for table, each in made]
    made += [("sessions", row(f"2026-11-0{day} 03:00", key="even", wcu=8)) for day in range(1, 10)]
    late = [
        ("sessions", row("2026-12-01 00:01", key="tenant-3", wcu=40, corrects=at("2026-11-30 23:58"))),
        ("sessions", row("2026-11-02 00:01", key="tenant-3", wcu=4, corrects=at("2026-10-31 23:59"))),
    ]
    return list({(table, each[:4], each.corrects): (table, each) for table, each in [*made, *late]}.values())


ROWS = rows()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> MeterSession:
    ledger = make_ledger(tmp_path_factory.mktemp("ledger"), ROWS, span_ms=HOUR_MS, buckets=1)
    consumed = [
        ConsumedCapacity("sessions", "2026-11-30", Decimal(10_000)),
        ConsumedCapacity("elsewhere", "2026-11-05", Decimal("12.5")),
    ]
    return MeterSession(ledger, read_prices(PRICES, "prices.csv"), consumed)


def run(session: MeterSession, name: str, **given: str) -> list[dict[str, Any]]:
    meter = METERS[name]
    lines: list[dict[str, Any]] = session.run(meter, meter.values(given)).to_pylist()
    return lines


def used_ms(each: LedgerRow) -> int:
    return each.window_start_ms if each.corrects is None else each.corrects


def in_november() -> list[tuple[str, LedgerRow]]:
    return [(table, each) for table, each in ROWS if at("2026-11-01 00:00") <= used_ms(each) < at("2026-12-01 00:00")]


def totals() -> dict[tuple[str, str], list[int]]:
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for table, each in in_november():
        for place, more in enumerate((each.wcu, each.writes, each.bytes_written)):
            sums[table, each.partition_key][place] += more
    return dict(sums)


# What they find


def test_the_monthly_cost_is_exact_and_corrections_are_in_the_month_that_they_correct(session: MeterSession) -> None:
    lines = run(session, "monthly_write_cost", **MONTH)
    found = {
        (each["table"], each["partition_key"]): [each["wcu"], each["writes"], each["bytes_written"]] for each in lines
    }
    assert found == totals()
    assert all(each["cost"] == Decimal(int(each["wcu"])) * Decimal("0.000000625") for each in lines)
    [only] = run(session, "monthly_write_cost", **MONTH, table="sessions", price_per_million="1.25")[:1]
    assert only["table"] == "sessions"
    assert only["cost"] == Decimal(int(only["wcu"])) * Decimal("0.00000125")


def test_the_peak_is_that_of_two_whole_minutes(session: MeterSession) -> None:
    windows: dict[tuple[str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for table, each in in_november():
        windows[table, each.partition_key][used_ms(each) // 120_000 * 120_000] += each.wcu
    for line in run(session, "peak_two_minute_rate", **DAYS):
        of_key = windows.pop((line["table"], line["partition_key"]))
        assert line["peak_wcu"] == max(of_key.values())
        assert line["two_minute_ms"] == min(each for each, wcu in of_key.items() if wcu == line["peak_wcu"])
        assert line["peak_wcu_per_s"] == round(Decimal(int(line["peak_wcu"])) / 120, 3)
    assert windows == {}


def test_the_top_keys_are_the_largest_of_each_table_with_their_shares(session: MeterSession) -> None:
    lines = run(session, "top_keys", **DAYS, most="3")
    for table in ("conversations", "sessions"):
        of_table = {key: sums[0] for (name, key), sums in totals().items() if name == table}
        top = [int(line["wcu"]) for line in lines if line["table"] == table]
        assert top == sorted(of_table.values(), reverse=True)[:3]
        shares = [line["share"] for line in lines if line["table"] == table]
        assert shares == [pytest.approx(Decimal(wcu) / sum(of_table.values()), abs=Decimal("0.000001")) for wcu in top]


def test_invoice_lines_split_usage_into_tiers_and_add_up_exactly(session: MeterSession) -> None:
    lines = run(session, "invoice_lines", **MONTH)
    for (table, key), (wcu, _, bytes_written) in totals().items():
        own = [line for line in lines if (line["table"], line["partition_key"]) == (table, key)]
        units = {(line["unit"], line["tier"]): int(line["units"]) for line in own}
        expected = {("wcu", 1): min(wcu, 10), ("wcu", 2): min(wcu, 100) - 10, ("wcu", 3): wcu - 100}
        expected["bytes_written", 1] = bytes_written
        assert units == {tier: count for tier, count in expected.items() if count > 0}
        due = sum((line["amount"] for line in own), Decimal(0))
        assert due == (
            max(0, min(wcu, 100) - 10) * Decimal("0.000000625")
            + max(0, wcu - 100) * Decimal("0.0000005")
            + bytes_written * Decimal("0.00000000009")
        )


def test_what_a_closed_month_billed_too_much_is_a_line_of_the_next_though_nothing_was_used_in_it(
    tmp_path: Path,
) -> None:
    november = at("2026-11-20 10:04")
    corrections = [
        ("t", row("2026-12-03 00:00", key="gone", wcu=-100, corrects=november)),
        ("t", row("2026-12-03 00:00", key="less", wcu=-100, corrects=november)),
        ("t", row("2026-12-05 00:00", key="less", wcu=30)),
        ("t", row("2026-12-03 00:00", key="even", wcu=-100, corrects=november)),
        ("t", row("2026-12-05 00:00", key="even", wcu=100)),
    ]
    ledger = make_ledger(tmp_path, corrections)
    ledger.close_period(ClosedPeriod("2026-11", at("2026-12-02 00:00"), 0, 0, 0))
    prices = read_prices("unit,above,up_to,price,per,currency\nwcu,0,10,2,1,USD\nwcu,10,,1,1,USD\n", "prices.csv")
    lines = run(MeterSession(ledger, prices), "invoice_lines", month="2026-12")
    told = [(line["partition_key"], line["tier"], int(line["units"]), line["amount"]) for line in lines]
    assert told == [("gone", 1, -100, -200), ("less", 1, -70, -140)]


def test_reconciliation_shows_the_gap_its_likely_cause_and_an_alarm(session: MeterSession) -> None:
    lines = {(each["table"], each["used_date"]): each for each in run(session, "reconciliation", **DAYS)}
    day = lines["sessions", "2026-11-30"]
    counted = sum(
        each.wcu for table, each in in_november() if table == "sessions" and used_ms(each) >= at("2026-11-30 00:00")
    )
    assert (day["gap_wcu"], day["ledger_wcu"], day["alarm"]) == (10_000 - counted, counted, True)
    assert day["gap_ratio"] == round(Decimal(10_000 - counted) / 10_000, 6)
    assert "twice the ledger or more" in day["likely_cause"]
    assert "nothing in the ledger" in lines["elsewhere", "2026-11-05"]["likely_cause"]
    unknown = next(each for each in lines.values() if each["cloudwatch_wcu"] is None)
    assert (unknown["alarm"], unknown["likely_cause"]) == (False, "CloudWatch has no figure for this day")


@pytest.mark.parametrize(("ratio", "alarm"), [("0.099999", True), ("0.1", True), ("0.100001", False)])
def test_a_gap_is_an_alarm_from_the_threshold_on(ratio: str, alarm: bool, tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path / "ledger", [("t", row(wcu=90))])
    session = MeterSession(ledger, consumed=[ConsumedCapacity("t", "2026-11-20", Decimal(100))])
    [line] = run(session, "reconciliation", **DAYS, alarm_ratio=ratio)
    assert line["alarm"] is alarm
    assert "failed conditional writes" in line["likely_cause"]


def test_rows_under_a_line_add_up_to_it_whatever_is_in_its_key(session: MeterSession) -> None:
    lines = run(session, "monthly_write_cost", **MONTH)
    assert {line["partition_key"] for line in lines} >= set(HOSTILE)
    for line in [each for each in lines if each["partition_key"] in HOSTILE] + lines[::9]:
        row = {name: line[name] for name in ("table", "partition_key", "billed_month")}
        under = session.rows_under(METERS["monthly_write_cost"], row)
        assert sum(under.column("wcu").to_pylist()) == line["wcu"]
        assert set(under.column("partition_key").to_pylist()) == {line["partition_key"]}


@pytest.mark.parametrize("name", ["monthly_write_cost", "peak_two_minute_rate", "top_keys", "closed_periods"])
def test_a_meter_says_the_same_where_duckdb_reads_the_files_by_itself(name: str, tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path, ROWS[::10])
    ledger.close_period(ClosedPeriod("2026-11", at("2026-12-01 00:00"), 0, 0, 0))
    database = duckdb.connect()
    files = f"'{tmp_path}/**/*.parquet', hive_partitioning = true, hive_types_autocast = false"
    database.execute(f"CREATE VIEW ledger AS FROM read_parquet({files})")
    database.read_csv(f"{tmp_path}/closed_periods/periods.csv").create_view("closed_periods")
    view = resources.files("jobs.usage.views").joinpath("usage.sql").read_text()
    database.execute(f"CREATE VIEW usage AS {view}")
    values = METERS[name].values(
        {each.name: (MONTH | DAYS)[each.name] for each in METERS[name].parameters if each.default is None}
    )
    directly = database.sql(METERS[name].sql, params=values).to_arrow_table()
    assert directly.to_pylist() == MeterSession(ledger).run(METERS[name], values).to_pylist()
    assert directly.num_rows > 1


def test_only_columns_that_tell_lines_apart_can_be_asked_for(session: MeterSession) -> None:
    for name in ("wcu", '1" = 1 OR "1', "used_date"):
        with pytest.raises(MeterError, match="are told apart by table, partition_key"):
            session.rows_under(METERS["monthly_write_cost"], {name: "1"})


def test_an_empty_ledger_has_no_lines(tmp_path: Path) -> None:
    session = MeterSession(make_ledger(tmp_path / "ledger", []), (), ())
    for name, meter in METERS.items():
        given = {each.name: {**MONTH, **DAYS}[each.name] for each in meter.parameters if each.default is None}
        assert run(session, name, **given) == []


def test_meters_say_what_they_need(tmp_path: Path) -> None:
    session = MeterSession(make_ledger(tmp_path / "ledger", []))
    with pytest.raises(MeterError, match="needs --prices"):
        run(session, "invoice_lines", **MONTH)
    with pytest.raises(MeterError, match="needs --consumed"):
        run(session, "reconciliation", **DAYS)


# Headers and parameters


def test_the_meters_that_the_issue_names_are_there_with_a_description() -> None:
    names = {"monthly_write_cost", "peak_two_minute_rate", "top_keys", "invoice_lines", "reconciliation"}
    assert names <= set(METERS)
    assert all(meter.description.endswith(".") and meter.version >= 1 for meter in METERS.values())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs --param month"),
        ({"mnth": "2026-11"}, "did you mean month"),
        ({"month": "2026-13"}, "not a month"),
        ({"month": "2026-11' OR '1'='1"}, "not a month"),
        ({"month": "٢٠٢٦-11"}, "not a month"),
        ({"month": "2026-11", "price_per_million": "NaN"}, "not a number"),
        ({"month": "2026-11", "price_per_million": "0.0000001"}, "not a number"),
        ({"month": "2026-11", "price_per_million": "1000000"}, "not a number"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(given: dict[str, str], said: str) -> None:
    with pytest.raises((MeterError, ParameterError), match=said):
        METERS["monthly_write_cost"].values(given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT 1", "has no line `-- meter:`"),
        ("-- meter: x\n-- version: 1\nSELECT 1", "has no line `-- description:`"),
        (HEAD.replace("1", "one") + "SELECT 1", "version 'one'"),
        (HEAD.replace("mine", "My Meter") + "SELECT 1", "no name for a meter"),
        (HEAD + "SELECT $day", r"\$day stands in the query"),
        (HEAD + "-- param day: date, required. A day.\nSELECT 1", "param day is declared"),
        (HEAD + "-- param day: day, required. A day.\nSELECT $day", "types: text, integer"),
        (HEAD + "-- param n: integer = x. A number.\nSELECT $n", "not a whole number"),
        (HEAD + "-- needs: money\nSELECT 1", "needs 'money'"),
    ],
)
def test_a_header_with_a_mistake_is_told(text: str, said: str) -> None:
    with pytest.raises(MeterError, match=f"^mine.sql: .*{said}"):
        parse_meter(text, "mine.sql")


def test_a_syntax_error_is_told_with_its_line(session: MeterSession) -> None:
    meter = parse_meter(HEAD + "SELEC wcu FROM usage", "mine.sql")
    with pytest.raises(MeterError, match=r"meter mine: .*SELEC"):
        session.run(meter, {})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(max_size=30))
def test_a_value_is_only_a_value(session: MeterSession, text: str) -> None:
    meter = parse_meter(HEAD + "-- param t: text = ''. A text.\nSELECT $t AS t, '$t' AS other", "mine.sql")
    text = text.encode("utf-8", "replace").decode().replace("\0", "")
    assert session.run(meter, meter.values({"t": text})).to_pylist() == [{"t": text, "other": "$t"}]


# Athena


@pytest.mark.parametrize("name", METERS)
def test_a_meter_is_a_query_in_athenas_dialect_with_its_parameters_in_order(name: str) -> None:
    query, order = METERS[name].for_athena({})
    for dialect in ("athena", "trino"):
        [parsed] = sqlglot.parse(query, read=dialect, error_level=sqlglot.ErrorLevel.RAISE)
        assert isinstance(parsed, sqlglot.exp.Select)
        placeholders = list(parsed.find_all(sqlglot.exp.Placeholder))
        assert len(placeholders) == len(order)
        # Athena takes them nowhere else.
        assert all(placeholder.find_ancestor(sqlglot.exp.Where) for placeholder in placeholders)
    assert set(order) == {each.name for each in METERS[name].parameters if each.kind is not Kind.DECIMAL}
    assert "$" not in query.split("SELECT", 1)[1]


def test_decimals_stand_in_the_query_for_athena() -> None:
    meter = METERS["monthly_write_cost"]
    assert "CAST(0.625 AS DECIMAL(12, 6))" in meter.for_athena({})[0]
    assert "CAST(1000 AS DECIMAL(12, 6))" in meter.for_athena(meter.values_given({"price_per_million": "1E+3"}))[0]
    own = parse_meter(HEAD + "-- param d: decimal, required. A number.\nSELECT $d * SUM(wcu) FROM usage", "mine.sql")
    with pytest.raises(MeterError, match=r"meter mine needs --param d=...: A number\."):
        own.for_athena({})


@pytest.mark.parametrize("name", METERS)
def test_a_meter_uses_only_functions_that_both_engines_have(name: str) -> None:
    both = {"sum", "max", "max_by", "abs", "least", "greatest", "coalesce", "nullif", "concat", "substr", "row_number"}
    [parsed] = sqlglot.parse(METERS[name].for_athena({})[0], read="athena")
    assert parsed is not None
    unknown = [each.name.lower() for each in parsed.find_all(sqlglot.exp.Anonymous)]
    assert set(unknown) <= both


def test_the_ddl_has_the_columns_that_files_are_written_with_and_projects_all_partitions() -> None:
    ddl = ledger_ddl("s3://lake/ledger", ["conversations", "sessions"], "2026-11-01")
    [create] = sqlglot.parse(ddl, read="athena", error_level=sqlglot.ErrorLevel.RAISE)
    assert isinstance(create, sqlglot.exp.Create)
    written = {field.name: {"string": "string", "int64": "bigint"}[str(field.type)] for field in SCHEMA}
    columns = ddl[ddl.index("(") + 1 : ddl.index(")\nPARTITIONED")].replace("`", "").replace(",", "").split()
    assert dict(zip(columns[::2], columns[1::2], strict=True)) == written
    assert "PARTITIONED BY (`table` string, `date` string, `hour` string)" in ddl
    for said in (
        "'projection.enabled' = 'true'",
        "'projection.table.values' = 'conversations,sessions'",
        "'projection.date.range' = '2026-11-01,NOW'",
        "'projection.hour.digits' = '2'",
        "'storage.location.template' = 's3://lake/ledger/table=${table}/date=${date}/hour=${hour}'",
    ):
        assert said in ddl
    assert "'projection.table.type' = 'injected'" in ledger_ddl("s3://lake/ledger", [], "2026-11-01")


def test_the_other_statements_are_athenas_too() -> None:
    statements = [*other_ddl("s3://lake/ledger"), prices_ddl(read_prices(PRICES, "p.csv"))]
    for statement in statements:
        [parsed] = sqlglot.parse(statement, read="athena", error_level=sqlglot.ErrorLevel.RAISE)
        assert isinstance(parsed, sqlglot.exp.Create)


# Price tables


def test_a_price_table_is_the_same_in_csv_and_toml() -> None:
    toml = """
[[tiers]]
unit = "wcu"
above = 10
price = 0.625
per = 1000000
currency = "USD"
[[tiers]]
unit = "wcu"
above = 0
up_to = 10
price = 0
per = 1
currency = "USD"
"""
    lines = "wcu,0,10,0,1,USD\nwcu,10,,0.625,1000000,USD\n"
    header = PRICES.splitlines()[0]
    expected = [
        Tier("wcu", 1, 0, 10, Decimal(0), 1, "USD"),
        Tier("wcu", 2, 10, None, Decimal("0.625"), 1_000_000, "USD"),
    ]
    assert read_prices(f"{header}\n{lines}", "p.csv") == read_prices(toml, "p.toml") == expected
    assert expected[1].price_of_one == Decimal("0.000000625")


@pytest.mark.parametrize(
    ("tiers", "said"),
    [
        ("wcu,5,,1,1,USD", "wcu: a gap: no tier for the first 5 units"),
        ("wcu,0,10,1,1,USD\nwcu,12,,1,1,USD", "wcu: a gap: no tier for the units above 10 and up to 12"),
        ("wcu,0,10,1,1,USD\nwcu,9,,1,1,USD", "wcu: an overlap: the tier above 0 reaches up to 10"),
        ("wcu,0,,1,1,USD\nwcu,9,,1,1,USD", "wcu: an overlap: the tier above 0 has no upper bound"),
        ("wcu,0,10,1,1,USD", "wcu: a gap: no tier for the units above 10"),
        ("wcu,0,10,1,1,USD\nwcu,10,,1,1,EUR", "several currencies"),
        ("kwh,0,,1,1,USD", "line 2: unit 'kwh'"),
        ("wcu,0,,x,1,USD", "line 2: price 'x'"),
        ("wcu,0,,-1,1,USD", "price '-1'"),
        ("wcu,0,,1,3,USD", "per '3'"),
        ("wcu,0,0,1,1,USD", "up_to 0 is not above 0"),
        ("wcu,0,,1,1,", "currency is missing"),
        ("wcu,0,,1", "has not 6 fields"),
        ("wcu,0,,0.00001,1000000000,USD", "more than 12 decimals"),
        ("wcu,0,,0.0000005,1,USD", "price '0.0000005' has more than 6 decimals: price more units at once"),
        ("", "has no tier"),
    ],
)  # fmt: skip
def test_a_price_table_with_a_mistake_is_refused_by_name(tiers: str, said: str) -> None:
    with pytest.raises(PriceError) as told:
        read_prices(f"{PRICES.splitlines()[0]}\n{tiers}\n", "prices.csv")
    assert str(told.value).startswith("prices.csv: ")
    assert said in str(told.value)


def test_what_is_no_price_table_is_refused() -> None:
    for text, origin in [
        ("a,b\n", "p.csv"),
        ("[[tiers]", "p.toml"),
        ("tiers = 1", "p.toml"),
        ("[[tiers]]\nunits=1", "p.toml"),
    ]:
        with pytest.raises(PriceError, match=f"^{origin}: "):
            read_prices(text, origin)


# What CloudWatch counted


def test_figures_are_read_as_they_were_written() -> None:
    figures = [ConsumedCapacity("b", "2026-11-02", Decimal("1.5")), ConsumedCapacity("a", "2026-11-01", Decimal(3))]
    assert read_consumed(write_consumed(figures), "c.csv") == sorted(figures)


@pytest.mark.parametrize(
    "line",
    ["t,2026-11-31,1", "t,20261101,1", "t,2026-W47-5,1", "t,2026-11-01,-1", "t,2026-11-01,NaN", "t,2026-11-01,1e30",
     "t,x", "t,2026-11-01,1,2"],
)  # fmt: skip
def test_a_figure_with_a_mistake_is_refused_by_its_line(line: str) -> None:
    with pytest.raises(ConsumedError, match="line 2"):
        read_consumed(f"table,date,wcu\n{line}\n", "c.csv")
    with pytest.raises(ConsumedError, match=r"c\.csv: not CSV: field larger"):
        read_consumed(f"table,date,wcu\n{'x' * 200_000},2026-11-01,1\n", "c.csv")
    with pytest.raises(ConsumedError, match="line 3: t has 2026-11-01 twice"):
        read_consumed("table,date,wcu\nt,2026-11-01,1\nt,2026-11-01,1\n", "c.csv")
