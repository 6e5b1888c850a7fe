"""The commands `headroom usage ...`: meters on a ledger, and its upkeep."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import Console

from jobs.options import EXIT_FAILED, config_option, open_settings, refuse
from jobs.settings import Settings

_HOUR_MS: Final = 3_600_000
EXIT_ALARM: Final = 3

_T = TypeVar("_T")

_ledger_option = click.option(
    "--ledger",
    metavar="PATH",
    help="The ledger: a directory, that of a replay's result, or s3://bucket/prefix. Default: usage.ledger of the "
    "settings.",
)
_prices_option = click.option(
    "--prices",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Price table, CSV or TOML, for meters that need one.",
)
_param_option = click.option(
    "--param", "params", metavar="NAME=VALUE", multiple=True, help="A parameter of the meter; can be repeated."
)


@click.group()
def usage() -> None:
    """Bill from the usage ledger: run meters on it, close periods, keep it in order."""


@usage.command("list")
def list_meters() -> None:
    """Explain each meter: what it tells, and its parameters.

    \b
    Example:
      headroom usage list
    """  # noqa: D301 - click looks for the character that the escape stands for
    from jobs.usage.shipped import shipped_meters

    for meter in shipped_meters().values():
        click.echo(f"{meter.name} (version {meter.version})")
        click.echo(f"  {meter.description}")
        for need in meter.needs:
            click.echo(f"  needs {need}")
        for parameter in meter.parameters:
            default = "required" if parameter.default is None else f"default {parameter.default or 'none'}"
            click.echo(f"    --param {parameter.name}=<{parameter.kind}>  {parameter.text} ({default})")
        click.echo()


@usage.command()
@click.argument("meter")
@_ledger_option
@_param_option
@_prices_option
@click.option(
    "--consumed",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="CSV with table,date,wcu as CloudWatch counted them, for the reconciliation.",
)
@click.option(
    "--cloudwatch", is_flag=True, help="Ask CloudWatch for that, for the tables and the days of the reconciliation."
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="How the result is printed.",
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file.")
@config_option
def run(
    meter: str,
    ledger: str | None,
    params: tuple[str, ...],
    prices: Path | None,
    consumed: Path | None,
    cloudwatch: bool,
    output_format: str,
    out: Path | None,
    config_file: Path | None,
) -> None:
    """Run METER on a ledger: one of `headroom usage list`, or a file of your own that ends in .sql.

    \b
    Examples:
      headroom usage run top_keys --ledger usage --param first_date=2026-11-01 --param last_date=2026-11-30
      headroom usage run invoice_lines --param month=2026-11 --prices prices.csv --format csv --out november.csv
      headroom usage run reconciliation --cloudwatch --param first_date=2026-11-01 --param last_date=2026-11-30

    \b
    Exit status: 0 done, 1 failed, 2 a mistake in the command, 3 when a row of the result is an alarm.
    """  # noqa: D301 - click looks for the character that the escape stands for
    from jobs.usage.output import Format, print_result

    if output_format == "parquet" and out is None:
        refuse(["--format parquet needs --out FILE"])
    chosen = _meter(meter)
    values = _told(lambda: chosen.values(_pairs(params, "--param")))
    opened = _ledger(ledger, config_file)
    figures = _consumed(consumed, cloudwatch, opened, values)
    from jobs.usage.query import MeterSession

    session = MeterSession(opened, _prices(prices), figures)
    result = _told(lambda: session.run(chosen, values), EXIT_FAILED)
    try:
        print_result(result, Format(output_format), out)
    except OSError as error:
        refuse([f"{out}: {error.strerror or error}"], EXIT_FAILED)
    if "alarm" in result.schema.names and any(result.column("alarm").to_pylist()):
        click.echo("headroom: a row of the result is an alarm", err=True)
        raise click.exceptions.Exit(EXIT_ALARM)


@usage.command()
@click.argument("meter")
@click.option(
    "--row",
    "row",
    metavar="COLUMN=VALUE",
    multiple=True,
    required=True,
    help="A column of the line that is to be explained, with its value; can be repeated.",
)
@_ledger_option
@config_option
def explain(meter: str, row: tuple[str, ...], ledger: str | None, config_file: Path | None) -> None:
    """Show the rows of the ledger that a line of METER's result is made of.

    \b
    Example:
      headroom usage explain invoice_lines --row table=conversations --row partition_key=tenant-000221 \\
        --row billed_month=2026-11
    """  # noqa: D301 - click looks for the character that the escape stands for
    from jobs.usage.output import Format, print_result

    chosen = _meter(meter)
    wanted = _pairs(row, "--row")
    opened = _ledger(ledger, config_file)
    from jobs.usage.query import MeterSession

    result = _told(lambda: MeterSession(opened).rows_under(chosen, wanted))
    print_result(result, Format.TABLE, None)
    sums = {name: sum(result.column(name).to_pylist()) for name in ("wcu", "writes", "bytes_written")}
    told = ", ".join(f"{name} {total:,}" for name, total in sums.items())
    click.echo(f"{result.num_rows:,} rows: {told}; lower bounds: wcu, writes")


@usage.command()
@click.argument("meter")
@_param_option
def show(meter: str, params: tuple[str, ...]) -> None:
    """Print METER as Athena runs it: the query, and the execution parameters in their order.

    \b
    Example:
      headroom usage show invoice_lines --param month=2026-11
    """  # noqa: D301 - click looks for the character that the escape stands for
    chosen = _meter(meter)
    query, order = chosen.for_athena()
    click.echo(query.rstrip())
    values = _told(lambda: chosen.values(_pairs(params, "--param"))) if params else {}
    for number, name in enumerate(order, 1):
        click.echo(f"-- parameter {number}: {name}" + (f" = {values[name]}" if name in values else ""))


@usage.command()
@click.option("--location", metavar="URL", required=True, help="Where the ledger is: s3://bucket/prefix.")
@click.option("--table", "tables", metavar="NAME", multiple=True, help="A DynamoDB table in it; can be repeated.")
@click.option("--first-date", metavar="DATE", default="2026-01-01", show_default=True, help="The first day with rows.")
@_prices_option
def ddl(location: str, tables: tuple[str, ...], first_date: str, prices: Path | None) -> None:
    """Print the statements that make the ledger known to Athena, with partition projection.

    Without --table, a query has to name the tables that it reads.

    \b
    Example:
      headroom usage ddl --location s3://my-bucket/ledger --table conversations --table sessions
    """  # noqa: D301 - click looks for the character that the escape stands for
    from jobs.usage.athena import ledger_ddl, other_ddl, prices_ddl
    from jobs.usage.ledger_paths import path_part

    if not location.startswith("s3://"):
        refuse([f"--location {location}: not s3://bucket/prefix"])
    if datetime_of(first_date) is None:
        refuse([f"--first-date {first_date}: not a day, such as 2026-11-01"])
    location = location.rstrip("/")
    statements = [ledger_ddl(location, [path_part(table) for table in tables], first_date), *other_ddl(location)]
    tiers = _prices(prices)
    click.echo("\n\n".join([*statements, *([prices_ddl(tiers)] if tiers else [])]))


@usage.command()
@_ledger_option
@click.option(
    "--keep",
    metavar="HOURS",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Leave alone hours that ended less than so many hours ago: the job may still write to them.",
)
@config_option
def compact(ledger: str | None, keep: int, config_file: Path | None) -> None:
    """Make the small files of each hour of each table one. What the ledger says stays the same.

    A compaction that was interrupted is finished first.

    \b
    Example:
      headroom usage compact --ledger s3://my-bucket/ledger
    """  # noqa: D301 - click looks for the character that the escape stands for
    from jobs.usage.compaction import compact as run_compaction
    from jobs.usage.compaction import finish_compaction
    from jobs.usage.store import LedgerStore, StoreError

    try:
        location = _location(ledger, config_file)
        if finish_compaction(LedgerStore(location)):
            click.echo("finished a compaction that was interrupted")
        opened = _ledger(location, None)
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        console = Console(stderr=True, highlight=False)
        with console.status("compacting") as status:
            done = run_compaction(
                opened,
                now_ms - keep * _HOUR_MS,
                lambda hour, hours: status.update(f"compacting hour {hour} of {hours}"),
            )
    except StoreError as error:
        refuse([str(error)], EXIT_FAILED)
    sizes = f"{done.bytes_before:,} bytes in {done.files_before:,} files to {done.bytes_after:,} in {done.hours:,}"
    click.echo(f"{done.hours:,} hours compacted" + (f": {sizes}" if done.hours else "; nothing to do"))


@usage.command()
@click.argument("month")
@_ledger_option
@config_option
def close(month: str, ledger: str | None, config_file: Path | None) -> None:
    """Close MONTH, such as 2026-11: from now on it bills what it bills now.

    What becomes known of it later is billed in the month in which it becomes known. `headroom usage run closed_periods`
    shows both.

    \b
    Example:
      headroom usage close 2026-11 --ledger s3://my-bucket/ledger
    """  # noqa: D301 - click looks for the character that the escape stands for
    from jobs.usage.periods import ClosedPeriod, month_end_ms, month_problem
    from jobs.usage.query import MeterSession
    from jobs.usage.store import StoreError

    if problem := month_problem(month):
        refuse([f"{month}: {problem}"])
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    if now_ms < month_end_ms(month):
        refuse([f"{month}: is not over yet"])
    opened = _ledger(ledger, config_file)
    if month in {period.period for period in opened.closed_periods}:
        refuse([f"{month}: is closed already"])
    totals = MeterSession(opened).total(month)
    try:
        opened.close_period(ClosedPeriod(month, now_ms, *totals))
    except StoreError as error:
        refuse([str(error)], EXIT_FAILED)
    wcu, writes, bytes_written = totals
    click.echo(f"{month} closed with {wcu:,} WCU in {writes:,} writes, {bytes_written:,} bytes written")


def datetime_of(text: str) -> datetime | None:
    """A day, None where the text is none."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _meter(name: str) -> Any:
    """A meter that ships, or one in a file."""
    from difflib import get_close_matches

    from jobs.usage.meter import parse_meter
    from jobs.usage.shipped import shipped_meters

    if name.endswith(".sql"):
        path = Path(name)
        return _told(lambda: parse_meter(_text(path), str(path)))
    meters = _told(shipped_meters)
    if name not in meters:
        alike = get_close_matches(name, meters, 1)
        hint = f"did you mean {alike[0]}?" if alike else f"there are {', '.join(meters)}, or a file of your own (.sql)"
        refuse([f"no meter {name!r}; {hint}"])
    return meters[name]


def _location(ledger: str | None, config_file: Path | None) -> str:
    if ledger is None:
        settings: Settings = open_settings(config_file)
        return settings.usage.ledger
    below = Path(ledger) / "ledger"
    # The directory of a replay's result has the ledger in it.
    return str(below) if not ledger.startswith("s3://") and below.is_dir() else ledger


def _ledger(ledger: str | None, config_file: Path | None) -> Any:
    from jobs.usage.ledger import Ledger, LedgerError

    try:
        return Ledger(_location(ledger, config_file))
    except LedgerError as error:
        refuse(error.problems, EXIT_FAILED)


def _prices(path: Path | None) -> Any:
    from jobs.usage.prices import read_prices

    return None if path is None else _told(lambda: read_prices(_text(path), str(path)))


def _consumed(path: Path | None, cloudwatch: bool, ledger: Any, values: Mapping[str, Any]) -> Any:
    from connectors.cloudwatch import CloudWatchError, fetch_consumed
    from jobs.usage.consumed import ConsumedCapacity, read_consumed

    if path is not None:
        return _told(lambda: read_consumed(_text(path), str(path)))
    if not cloudwatch:
        return None
    if not {"first_date", "last_date"} <= set(values):
        refuse(["--cloudwatch is for meters with the parameters first_date and last_date"])
    import boto3

    tables = sorted({file.table for file in ledger.files.values()})
    client = boto3.client("cloudwatch")
    try:
        figures = fetch_consumed(client, tables, values["first_date"], values["last_date"])
    except CloudWatchError as error:
        refuse([str(error)], EXIT_FAILED)
    return [ConsumedCapacity(*figure) for figure in figures]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        refuse([f"{path}: not UTF-8 text"])
    except OSError as error:
        refuse([f"{path}: {error.strerror or error}"])


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            refuse([f"{option} {text}: not NAME=VALUE"])
        if name in pairs:
            refuse([f"{option} {name}: is given twice"])
        pairs[name] = value
    return pairs


def _told(do: Callable[[], _T], exit_code: int = 2) -> _T:
    """What a function gives; exits where it tells of a mistake of the user's."""
    from jobs.usage.consumed import ConsumedError
    from jobs.usage.meter import MeterError
    from jobs.usage.prices import PriceError

    try:
        return do()
    except (ConsumedError, MeterError, PriceError) as error:
        refuse([str(error)], exit_code)
