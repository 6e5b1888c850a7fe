"""`headroom usage` as a user runs it, on a local ledger and on one in S3 (moto's server)."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path

import boto3
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from jobs.cli import cli
from jobs.usage.ledger import Ledger
from jobs.usage.ledger_file import write_rows
from jobs.usage.ledger_paths import file_of
from jobs.usage.output import print_table
from jobs.usage.store import LedgerStore, StoreError
from tests.usage.ledgers import at, make_ledger, place_in_s3, row
from tests.usage.test_meters import DAYS, PRICES

MONTH = ["--param", "month=2026-11"]
DAYS_GIVEN = [text for name, day in DAYS.items() for text in ("--param", f"{name}={day}")]


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    rows = [("conversations", row(key=f"tenant-{number}", wcu=50 * number)) for number in range(1, 9)]
    make_ledger(tmp_path / "result" / "ledger", [*rows, ("conversations", row("2026-11-20 10:20", wcu=7))])
    return str(tmp_path / "result")


def headroom(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["usage", *arguments])


def test_list_explains_each_meter_and_its_parameters() -> None:
    told = headroom("list").output
    assert "invoice_lines (version 2)\n  A line for each partition key" in told
    assert "  headroom usage run invoice_lines --param month=... --prices FILE\n" in told
    assert "  explained by table, partition_key, partition_key_type, billed_month\n" in told
    assert "--param price_per_million=<decimal>  Price of a million write capacity units. (default 0.625)" in told


def test_a_result_is_a_table_csv_json_or_parquet(ledger: str, tmp_path: Path) -> None:
    run = ["run", "top_keys", "--ledger", ledger, *DAYS_GIVEN, "--param", "most=2"]
    table = headroom(*run).output
    assert [line.split()[1:3] for line in table.splitlines()[1:]] == [["tenant-8", "S"], ["tenant-7", "S"]]
    lines = headroom(*run, "--format", "csv").output.splitlines()
    assert lines[:2] == [
        "table,partition_key,partition_key_type,wcu,writes,bytes_written,share",
        "conversations,tenant-8,S,400,400,40000,0.221361",
    ]
    assert json.loads(headroom(*run, "--format", "json").output.splitlines()[0])["share"] == "0.221361"
    path = tmp_path / "top.parquet"
    assert headroom(*run, "--format", "parquet", "--out", str(path)).exit_code == 0
    assert pyarrow.parquet.read_table(path).num_rows == 2


def test_amounts_are_written_without_an_exponent(ledger: str, tmp_path: Path) -> None:
    """A free allowance costs 0.000000000000, which Python would write as 0E-12."""
    (tmp_path / "prices.csv").write_text("unit,above,up_to,price,per,currency\nwcu,0,,0,1,USD\n")
    run = ["run", "invoice_lines", "--ledger", ledger, *MONTH, "--prices", str(tmp_path / "prices.csv")]
    assert {line.split(",")[-1] for line in headroom(*run, "--format", "csv").output.splitlines()[1:]} == {
        "0.000000000000"
    }
    amounts = {json.loads(line)["amount"] for line in headroom(*run, "--format", "json").output.splitlines()}
    assert amounts == {"0.000000000000"}


KEYS = ["\\[/foo]", "[bold]x[/bold]", "\\", "a\x1b[31mred", "two\nlines", "\u2028", "x" * 2048]


def test_a_table_shows_each_key_in_one_line_and_nothing_that_steers_the_terminal(tmp_path: Path) -> None:
    make_ledger(tmp_path, [("t", row(key=key, wcu=9 - number)) for number, key in enumerate(KEYS)])
    told = headroom("run", "top_keys", "--ledger", str(tmp_path), *DAYS_GIVEN).output
    shown = [line.split()[1] for line in told.splitlines()[1:8]]
    assert shown == [*KEYS[:3], "a\\x1b[31mred", "two\\nlines", "\\u2028", "x" * 119 + "…"]
    assert told.endswith("… stands for the rest of a long value; --format csv has all of it\n")


@pytest.mark.parametrize(
    ("value", "shown"), [("0", "0"), ("999", "999"), ("1000", "1,000"), ("20000", "20,000"), ("1234.50", "1,234.5")]
)
def test_sums_and_amounts_are_shown_with_their_thousands_apart(value: str, shown: str) -> None:
    console = Console(file=StringIO(), width=40)
    print_table(pyarrow.table({"wcu": [Decimal(value)]}), console)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().split() == ["wcu", shown]


@pytest.mark.parametrize(
    ("width", "lines"), [(60, ["key    wcu", "k    1,000"]), (8, ["row 1", "  key  k", "  wcu  1,000"])]
)
def test_rows_that_do_not_fit_the_terminal_are_shown_value_by_value(width: int, lines: list[str]) -> None:
    console = Console(file=StringIO(), width=width)
    print_table(pyarrow.table({"key": ["k"], "wcu": [1_000]}), console)
    assert isinstance(console.file, StringIO)
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == lines


OWN = "-- meter: own\n-- version: 1\n-- description: x\n-- identity: partition_key\n"


def test_a_result_of_any_types_is_printed_in_each_format(ledger: str, tmp_path: Path) -> None:
    meter = tmp_path / "own.sql"
    values = {
        "DATE '2026-11-01'": "2026-11-01",
        "TIMESTAMP '2026-11-01 10:00:00'": "2026-11-01 10:00:00",
        "[1.5, NULL]": ["1.5", None],
        "{'a': 0.000000::DECIMAL(12, 6)}": {"a": "0.000000"},
        "'nan'::DOUBLE": None,
        "1.5 AS x_ms": "1.5",
        "'soon' AS y_ms": "soon",
        "9999999999999999 AS z_ms": 9_999_999_999_999_999,
    }
    meter.write_text(f"{OWN}SELECT {', '.join(values)}\n")
    run = ["run", str(meter), "--ledger", ledger]
    assert list(json.loads(headroom(*run, "--format", "json").output).values()) == list(values.values())
    for output_format in ("table", "csv"):
        done = headroom(*run, "--format", output_format)
        assert (done.exit_code, "2026-11-01 10:00:00" in done.output, "soon" in done.output) == (0, True, True)
    done = headroom(*run, "--format", "parquet", "--out", str(tmp_path / "result.parquet"))
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("COPY (SELECT 1) TO '{out}'", "is not a query"),
        ("ATTACH '{out}' AS x", "is not a query"),
        ("CREATE TABLE x AS SELECT 1", "is not a query"),
        ("DROP VIEW usage", "is not a query"),
        ("INSTALL httpfs", "is not a query"),
        ("SELECT 1; COPY (SELECT 1) TO '{out}'", "is more than one query"),
        ("SELECT 1 AS a; SELECT 2 AS a", "is more than one query"),
        ("", "has no query"),
        (";", "has no query"),
        ("SELECT wcu AS a, writes AS a FROM usage", "two columns are called 'a'"),
        ("SELECT ? AS a", "? stands in the query"),
        ("SELECT $1 AS a", "$1 stands in the query"),
    ],
)
def test_a_meter_that_is_not_one_query_is_refused_and_does_nothing(
    ledger: str, tmp_path: Path, query: str, said: str
) -> None:
    meter = tmp_path / "own.sql"
    meter.write_text(OWN + query.format(out=tmp_path / "out"))
    done = headroom("run", str(meter), "--ledger", ledger)
    assert (done.exit_code, said in done.stderr, "own" in done.stderr) == (2, True, True), done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "source",
    [
        "read_csv('/etc/passwd')",
        "read_text('{here}')",
        "read_parquet('s3://elsewhere/x.parquet')",
        "'{here}'",
        "glob('/*')",
        "values",  # a variable of ours
    ],
)
def test_a_meter_reads_nothing_but_the_ledger(ledger: str, tmp_path: Path, source: str) -> None:
    meter = tmp_path / "own.sql"
    meter.write_text(OWN + "FROM " + source.format(here=meter))
    done = headroom("run", str(meter), "--ledger", ledger)
    assert done.exit_code in (1, 2)
    assert "headroom: meter own: " in done.stderr
    assert "version" not in done.output


@pytest.mark.parametrize(
    ("query", "exit_code"),
    [
        ("SELEC 1", 2),
        ("SELECT nonsense FROM usage", 2),
        ("SELECT * FROM nowhere", 2),
        ("SELECT CAST(partition_key AS BIGINT) FROM usage", 1),
    ],
)
def test_a_mistake_in_a_meter_is_told_apart_from_a_failure(
    ledger: str, tmp_path: Path, query: str, exit_code: int
) -> None:
    meter = tmp_path / "own.sql"
    meter.write_text(f"{OWN}{query}\n")
    done = headroom("run", str(meter), "--ledger", ledger)
    assert done.exit_code == exit_code
    assert "headroom: meter own: " in done.output
    assert "Traceback" not in done.output


def test_a_meter_without_its_prices_is_a_mistake_in_the_command(ledger: str) -> None:
    assert headroom("run", "invoice_lines", "--ledger", ledger, *MONTH).exit_code == 2


def test_an_invoice_line_is_explained_by_the_rows_under_it(ledger: str, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(PRICES)
    run = headroom(
        "run", "invoice_lines", "--ledger", ledger, *MONTH, "--prices", str(tmp_path / "prices.csv"), "--format", "csv"
    )
    assert run.exit_code == 0
    lines = [line.split(",") for line in run.output.splitlines() if ",tenant-1,S,2026-11,wcu," in line]
    assert sum(int(line[6]) for line in lines) == 57
    explained = headroom(
        "explain", "invoice_lines", "--ledger", ledger,
        "--row", "table=conversations", "--row", "partition_key=tenant-1", "--row", "billed_month=2026-11",
    )  # fmt: skip
    assert explained.output.endswith("2 rows: wcu 57, writes 57, bytes_written 5,700; lower bounds: wcu, writes\n")


def test_a_line_over_some_days_is_explained_by_the_rows_of_these_days(ledger: str, tmp_path: Path) -> None:
    make_ledger(Path(ledger, "ledger"), [("conversations", row("2026-11-21 10:00", key="tenant-1", wcu=1_000))])
    explain = ["explain", "top_keys", "--ledger", ledger, "--row", "partition_key=tenant-1"]
    days = ["--param", "first_date=2026-11-20", "--param", "last_date=2026-11-20"]
    assert "3 rows: wcu 1,057, " in headroom(*explain).output
    assert "2 rows: wcu 57, " in headroom(*explain, *days).output
    as_csv = headroom(*explain, *days, "--format", "csv")
    assert [line.split(",")[13] for line in as_csv.stdout.splitlines()] == ["wcu", "50", "7"]
    assert as_csv.stderr.startswith("2 rows: wcu 57, ")
    headroom(*explain, *days, "--format", "parquet", "--out", str(tmp_path / "rows.parquet"))
    assert sum(pyarrow.parquet.read_table(tmp_path / "rows.parquet").column("wcu").to_pylist()) == 57


def test_a_meter_of_ones_own_runs_from_its_file(ledger: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.sql"
    path.write_text("-- meter: mine\n-- version: 3\n-- description: All.\nSELECT SUM(wcu) AS wcu FROM usage\n")
    assert headroom("run", str(path), "--ledger", ledger, "--format", "csv").output == "wcu\n1807\n"
    path.write_text("SELECT 1")
    refused = headroom("run", str(path), "--ledger", ledger)
    assert (refused.exit_code, "has no line `-- meter:`" in refused.stderr) == (2, True)
    path.write_text("-- meter: mine\n-- version: 3\n-- description: All.\nSELECT sum(wcu FROM usage\n")
    refused = headroom("run", str(path), "--ledger", ledger)
    assert (refused.exit_code, "syntax error" in refused.stderr.lower()) == (2, True)


def test_a_gap_beyond_the_threshold_ends_with_a_status_of_its_own(ledger: str, tmp_path: Path) -> None:
    (tmp_path / "consumed.csv").write_text("table,date,wcu\nconversations,2026-11-20,2000\n")
    run = ["run", "reconciliation", "--ledger", ledger, *DAYS_GIVEN, "--consumed", str(tmp_path / "consumed.csv")]
    assert headroom(*run).exit_code == 3
    assert headroom(*run, "--param", "alarm_ratio=0.2").exit_code == 0


def test_a_file_from_a_spreadsheet_may_begin_with_a_byte_order_mark(ledger: str, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(PRICES, encoding="utf-8-sig")
    run = headroom("run", "invoice_lines", "--ledger", ledger, *MONTH, "--prices", str(tmp_path / "prices.csv"))
    assert run.exit_code == 0


def test_that_a_ledger_is_empty_is_told(tmp_path: Path) -> None:
    done = headroom("run", "top_keys", "--ledger", str(tmp_path), *DAYS_GIVEN)
    assert (done.exit_code, done.stderr) == (0, f"headroom: {tmp_path}: has no file of a ledger in it\n")


def test_mistakes_are_told_and_end_with_two(ledger: str) -> None:
    for arguments, said in [
        (["run", "top_kyes", "--ledger", ledger], "did you mean top_keys?"),
        (["run", "top_keys", "--ledger", ledger], "needs --param first_date"),
        (["run", "top_keys", "--ledger", ledger, "--param", "most"], "not NAME=VALUE"),
        (["run", "top_keys", "--ledger", ledger, "--param", "most=1", "--param", "most=2"], "given twice"),
        (["run", "top_keys", "--ledger", ledger, *DAYS_GIVEN, "--format", "parquet"], "needs --out"),
        (["run", "nothing.sql", "--ledger", ledger], "No such file"),
        (["close", "2026-13", "--ledger", ledger], "not a month"),
        (["close", "2999-01", "--ledger", ledger], "is not over yet"),
        (["ddl", "--location", "here"], "not s3://"),
        (["ddl", "--location", "s3://x", "--first-date", "tomorrow"], "not a day"),
        (["explain", "top_keys", "--ledger", ledger, "--row", "wcu=1"], "told apart by"),
        (["explain", "top_keys", "--ledger", ledger, "--row", "table=t", "--param", "most=3"], "not by most"),
        (["explain", "top_keys", "--ledger", ledger, "--row", "table=t", "--param", "first_date=1"], "not a day"),
        (["explain", "top_keys", "--ledger", ledger, "--row", "table=t", "--param", "month=1"], "no parameter"),
    ]:
        refused = headroom(*arguments)
        assert (refused.exit_code, said in refused.stderr) == (2, True), (arguments, refused.output, refused.stderr)
    missing = headroom("run", "top_keys", "--ledger", "nowhere", *DAYS_GIVEN)
    assert (missing.exit_code, missing.stderr) == (1, "headroom: nowhere: no such ledger\n")


def test_a_month_is_closed_once(ledger: str) -> None:
    assert headroom("close", "2020-01", "--ledger", ledger).output == (
        "2020-01 closed with 0 WCU in 0 writes, 0 bytes written\n"
    )
    refused = headroom("close", "2020-01", "--ledger", ledger)
    assert (refused.exit_code, "is closed already" in refused.stderr) == (2, True)


def test_compact_says_what_it_did(ledger: str) -> None:
    Path(ledger, "ledger", "_compaction.json").write_text('{"remove": [], "place": "x"}')
    told = headroom("compact", "--ledger", ledger, "--keep", "0").output
    hours = 1 if at("2026-11-20 11:00") <= datetime.now(UTC).timestamp() * 1000 else 0
    assert told.startswith("finished a compaction that was interrupted\n")
    assert f"{hours} hours compacted" in told


def test_show_prints_what_athena_runs() -> None:
    told = headroom("show", "top_keys", *DAYS_GIVEN).output
    assert "BETWEEN ? AND ?" in told
    assert told.endswith("-- parameter 3: first_date = '2026-11-01'\n-- parameter 4: most = 20\n")


def test_ddl_prints_all_statements(tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(PRICES)
    told = headroom(
        "ddl", "--location", "s3://lake/ledger/", "--table", "t", "--prices", str(tmp_path / "prices.csv")
    ).output
    assert told.count("CREATE EXTERNAL TABLE IF NOT EXISTS") == 3  # the stack has made one of them
    assert "CREATE OR REPLACE VIEW prices" in told
    assert "s3://lake/ledger/table=${table}" in told


# S3


@pytest.fixture
def s3_ledger() -> Iterator[str]:
    with place_in_s3() as location:
        yield location


def test_a_ledger_in_s3_is_written_read_compacted_and_closed_like_a_local_one(s3_ledger: str) -> None:
    store = LedgerStore(s3_ledger)
    assert not store.exists()
    for start, key in (("2020-11-20 10:04", "a"), ("2020-11-20 10:20", "a"), ("2020-11-20 10:20", "o'clock/\n")):
        path = file_of("t", key, "S", at(start), span_ms=900_000, buckets=4).path
        store.write(path, write_rows([row(start, key=key)]))
        store.write(path, write_rows([row(start, key=key, wcu=6)]))
    days = ["--param", "first_date=2020-11-01", "--param", "last_date=2020-11-30", "--format", "csv"]
    before = headroom("run", "top_keys", "--ledger", s3_ledger, *days).output
    assert before.splitlines()[1:] == ["t,a,S,12,12,1200,0.666667", "t,\"o'clock/", '",S,6,6,600,0.333333']
    assert "1 hours compacted" in headroom("compact", "--ledger", s3_ledger).output
    assert list(Ledger(s3_ledger).files) == ["table=t/date=2020-11-20/hour=10/1000-1h-1of1-compacted.parquet"]
    assert headroom("run", "top_keys", "--ledger", s3_ledger, *days).output == before
    assert headroom("close", "2020-11", "--ledger", s3_ledger).output.startswith("2020-11 closed with 18 WCU")
    assert [period.period for period in Ledger(s3_ledger).closed_periods] == ["2020-11"]


def test_a_bucket_that_is_not_there_is_told(s3_ledger: str) -> None:
    with pytest.raises(StoreError, match="s3://elsewhere/x/y"):
        LedgerStore("s3://elsewhere/x").write("y", b"")
    with pytest.raises(StoreError, match="names no bucket"):
        LedgerStore("s3://")


def test_cloudwatch_is_asked_by_day_for_the_tables_of_the_ledger_and_of_the_settings(
    s3_ledger: str, ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudwatch = boto3.client("cloudwatch")
    for table, hour, wcu in (("conversations", 1, 1_000.0), ("conversations", 23, 900.0), ("silent", 5, 7.0)):
        cloudwatch.put_metric_data(
            Namespace="AWS/DynamoDB",
            MetricData=[
                {
                    "MetricName": "ConsumedWriteCapacityUnits",
                    "Dimensions": [{"Name": "TableName", "Value": table}],
                    "Timestamp": datetime(2026, 11, 20, hour, tzinfo=UTC),
                    "Value": wcu,
                }
            ],
        )
    arguments = ["run", "reconciliation", "--ledger", ledger, *DAYS_GIVEN, "--cloudwatch", "--format", "csv"]
    run = headroom(*arguments)
    assert run.output.splitlines()[1].startswith("conversations,2026-11-20,1900.000,1807")
    assert run.exit_code == 0
    (tmp_path / "headroom.toml").write_text('[tables.silent]\npartition_key = "pk"\n')
    run = headroom(*arguments, "--config", str(tmp_path / "headroom.toml"))
    assert 'silent,2026-11-20,7.000,0,7.000,1.000000,True,"nothing in the ledger' in run.output
    assert run.exit_code == 3
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    refused = headroom(*arguments)
    assert (refused.exit_code, "give usage.region, or the variable AWS_REGION" in refused.stderr) == (1, True)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert headroom(*arguments).exit_code == 0


def test_listing_meters_loads_neither_flink_nor_duckdb() -> None:
    code = (
        "import sys, jobs.cli; from click.testing import CliRunner; "
        "CliRunner().invoke(jobs.cli.cli, ['usage', 'list']); "
        "print(sorted({'duckdb', 'pyflink', 'pyarrow'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"
