"""The commands `headroom usage ...`: meters on a ledger, and its upkeep."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from jobs.options import EXIT_FAILED, config_option, refuse
from jobs.usage.arguments import ledger_option, open_ledger, open_prices, prices_option, text_of, told
from jobs.usage.upkeep import close, compact, ddl

EXIT_ALARM: Final = 3

_param_option = click.option(
    "--param", "params", metavar="NAME=VALUE", multiple=True, help="A parameter of the meter; can be repeated."
)
_format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="How the result is printed.",
)
_out_option = click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file."
)


@click.group()
def usage() -> None:
    """Bill from the usage ledger: run meters on it, close periods, keep it in order."""


for command in (compact, close, ddl):
    usage.add_command(command)


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
@ledger_option
@_param_option
@prices_option
@click.option(
    "--consumed",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="CSV with table,date,wcu as CloudWatch counted them, for the reconciliation.",
)
@click.option(
    "--cloudwatch", is_flag=True, help="Ask CloudWatch for that, for the tables and the days of the reconciliation."
)
@_format_option
@_out_option
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
    Exit status: 0 done, 1 failed, 2 a mistake in the command or the meter, 3 when a row of the result is an alarm.
    """  # noqa: D301 - click looks for the character that the escape stands for
    _require_out(output_format, out)
    chosen = _meter(meter)
    values = told(lambda: chosen.values(_pairs(params, "--param")))
    opened = open_ledger(ledger, config_file)
    figures = _consumed(consumed, cloudwatch, opened, values)
    from jobs.usage.query import MeterSession

    session = MeterSession(opened, open_prices(prices), figures)
    result = told(lambda: session.run(chosen, values))
    _print(result, output_format, out)
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
@ledger_option
@_param_option
@_format_option
@_out_option
@config_option
def explain(
    meter: str,
    row: tuple[str, ...],
    ledger: str | None,
    params: tuple[str, ...],
    output_format: str,
    out: Path | None,
    config_file: Path | None,
) -> None:
    """Show the rows of the ledger that a line of METER's result is made of.

    A line of a meter that was run for some days is made of the rows of these days: give them again.

    \b
    Examples:
      headroom usage explain invoice_lines --row table=conversations --row partition_key=tenant-000221 \\
        --row billed_month=2026-11
      headroom usage explain top_keys --row table=conversations --row partition_key=tenant-000221 \\
        --param first_date=2026-11-01 --param last_date=2026-11-30 --format csv
    """  # noqa: D301 - click looks for the character that the escape stands for
    _require_out(output_format, out)
    chosen = _meter(meter)
    wanted = _pairs(row, "--row")
    days = told(lambda: chosen.values_given(_pairs(params, "--param")))
    opened = open_ledger(ledger, config_file)
    from jobs.usage.query import MeterSession

    result = told(lambda: MeterSession(opened).rows_under(chosen, wanted, days))
    _print(result, output_format, out)
    sums = {name: sum(result.column(name).to_pylist()) for name in ("wcu", "writes", "bytes_written")}
    in_all = ", ".join(f"{name} {total:,}" for name, total in sums.items())
    # Beside a result for programs it would be in the way.
    click.echo(f"{result.num_rows:,} rows: {in_all}; lower bounds: wcu, writes", err=output_format != "table")


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
    given = told(lambda: chosen.values_given(_pairs(params, "--param")))
    query, order = told(lambda: chosen.for_athena(given))
    click.echo(query.rstrip())
    values = told(lambda: chosen.values(_pairs(params, "--param"))) if params else {}
    for number, name in enumerate(order, 1):
        click.echo(f"-- parameter {number}: {name}" + (f" = {_literal(values[name])}" if name in values else ""))


def _literal(value: Any) -> str:
    """A value as Athena takes it among its execution parameters."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def _require_out(output_format: str, out: Path | None) -> None:
    if output_format == "parquet" and out is None:
        refuse(["--format parquet needs --out FILE"])


def _print(result: Any, output_format: str, out: Path | None) -> None:
    from jobs.usage.output import Format, print_result

    try:
        print_result(result, Format(output_format), out)
    except OSError as error:
        refuse([f"{out}: {error.strerror or error}"], EXIT_FAILED)


def _meter(name: str) -> Any:
    """A meter that ships, or one in a file."""
    from difflib import get_close_matches

    from jobs.usage.meter import parse_meter
    from jobs.usage.shipped import shipped_meters

    if name.endswith(".sql"):
        path = Path(name)
        return told(lambda: parse_meter(text_of(path), str(path)))
    meters = told(shipped_meters)
    if name not in meters:
        alike = get_close_matches(name, meters, 1)
        hint = f"did you mean {alike[0]}?" if alike else f"there are {', '.join(meters)}, or a file of your own (.sql)"
        refuse([f"no meter {name!r}; {hint}"])
    return meters[name]


def _consumed(path: Path | None, cloudwatch: bool, ledger: Any, values: Mapping[str, Any]) -> Any:
    from connectors.cloudwatch import CloudWatchError, fetch_consumed
    from jobs.usage.consumed import ConsumedCapacity, read_consumed

    if path is not None:
        return told(lambda: read_consumed(text_of(path), str(path)))
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
