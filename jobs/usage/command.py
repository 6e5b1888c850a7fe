"""The commands `headroom usage ...`: meters on a ledger, beside those of `catalog` and `upkeep`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from jobs.options import EXIT_FAILED, config_option, open_settings, refuse
from jobs.usage.arguments import (
    chosen_meter,
    ledger_option,
    open_ledger,
    open_prices,
    pairs_of,
    param_option,
    prices_option,
    text_of,
    told,
)
from jobs.usage.catalog import list_meters, show
from jobs.usage.upkeep import close, compact, ddl

if TYPE_CHECKING:
    from jobs.settings import Settings

EXIT_ALARM: Final = 3

_format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
    help="How the result is printed.",
)
_out_option = click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write it to a file: CSV unless --format says otherwise.",
)


@click.group()
def usage() -> None:
    """Bill from the usage ledger: run meters on it, close periods, keep it in order."""


for command in (list_meters, show, compact, close, ddl):
    usage.add_command(command)


@usage.command()
@click.argument("meter")
@ledger_option
@param_option
@prices_option
@click.option(
    "--consumed",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="CSV with table,date,wcu as CloudWatch counted them, for the reconciliation.",
)
@click.option(
    "--cloudwatch", is_flag=True, help="Ask CloudWatch for that, for the tables of the ledger and of the settings."
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
    chosen = chosen_meter(meter)
    values = told(lambda: chosen.values(pairs_of(params, "--param")))
    opened = open_ledger(ledger, config_file)
    figures = _consumed(consumed, opened, values, open_settings(config_file) if cloudwatch else None)
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
@param_option
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
    chosen = chosen_meter(meter)
    wanted = pairs_of(row, "--row")
    days = told(lambda: chosen.values_given(pairs_of(params, "--param")))
    opened = open_ledger(ledger, config_file)
    from jobs.usage.query import MeterSession

    result = told(lambda: MeterSession(opened).rows_under(chosen, wanted, days))
    _print(result, output_format, out)
    sums = {name: sum(result.column(name).to_pylist()) for name in ("wcu", "writes", "bytes_written")}
    in_all = ", ".join(f"{name} {total:,}" for name, total in sums.items())
    # Beside a result for programs it would be in the way.
    click.echo(f"{result.num_rows:,} rows: {in_all}; lower bounds: wcu, writes", err=output_format != "table")


def _require_out(output_format: str, out: Path | None) -> None:
    if output_format == "parquet" and out is None:
        refuse(["--format parquet needs --out FILE"])


def _print(result: Any, output_format: str, out: Path | None) -> None:
    from jobs.usage.output import Format, print_result

    try:
        print_result(result, Format(output_format), out)
    except OSError as error:
        refuse([f"{out}: {error.strerror or error}"], EXIT_FAILED)


def _consumed(path: Path | None, ledger: Any, values: Mapping[str, Any], cloudwatch: "Settings | None") -> Any:
    """What CloudWatch counted: as a file says, or where there are settings to ask with, as it says itself."""
    from connectors.cloudwatch import CloudWatchError, connect, fetch_consumed
    from jobs.usage.consumed import ConsumedCapacity, read_consumed

    if path is not None:
        return told(lambda: read_consumed(text_of(path), str(path)))
    if cloudwatch is None:
        return None
    if not {"first_date", "last_date"} <= set(values):
        refuse(["--cloudwatch is for meters with the parameters first_date and last_date"])
    # A table whose stream is off is in the settings alone.
    tables = sorted({*(file.table for file in ledger.files.values()), *cloudwatch.tables})
    try:
        client = connect(cloudwatch.usage.region)
        figures = fetch_consumed(client, tables, values["first_date"], values["last_date"])
    except CloudWatchError as error:
        refuse([str(error)], EXIT_FAILED)
    return [ConsumedCapacity(*figure) for figure in figures]
