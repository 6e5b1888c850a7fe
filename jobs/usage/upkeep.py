"""The commands `headroom usage compact`, `close` and `ddl`: the upkeep of a ledger."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from jobs.options import EXIT_FAILED, config_option, refuse
from jobs.usage.arguments import ledger_option, open_ledger, open_prices, place_of, prices_option, told

_HOUR_MS: Final = 3_600_000


@click.command()
@click.option("--location", metavar="URL", required=True, help="Where the ledger is: s3://bucket/prefix.")
@click.option("--table", "tables", metavar="NAME", multiple=True, help="A DynamoDB table in it; can be repeated.")
@click.option("--first-date", metavar="DATE", default="2026-01-01", show_default=True, help="The first day with rows.")
@prices_option
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
    if _day(first_date) is None:
        refuse([f"--first-date {first_date}: not a day, such as 2026-11-01"])
    location = location.rstrip("/")
    statements = [ledger_ddl(location, [path_part(table) for table in tables], first_date), *other_ddl(location)]
    tiers = open_prices(prices)
    click.echo("\n\n".join([*statements, *([prices_ddl(tiers)] if tiers else [])]))


@click.command()
@ledger_option
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
    from jobs.usage.compaction_lock import only_compaction
    from jobs.usage.store import LedgerStore, StoreError

    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    console = Console(stderr=True, highlight=False)
    try:
        store = LedgerStore(*place_of(ledger, config_file))
        with only_compaction(store) as keep_lock, console.status("compacting") as status:

            def progress(hour: int, hours: int) -> None:
                keep_lock()
                status.update(f"compacting hour {hour} of {hours}")

            if finish_compaction(store):
                click.echo("finished a compaction that was interrupted")
            done = run_compaction(open_ledger(ledger, config_file), now_ms - keep * _HOUR_MS, progress)
    except StoreError as error:
        refuse([str(error)], EXIT_FAILED)
    sizes = f"{done.bytes_before:,} bytes in {done.files_before:,} files to {done.bytes_after:,} in {done.hours:,}"
    click.echo(f"{done.hours:,} hours compacted" + (f": {sizes}" if done.hours else "; nothing to do"))


@click.command()
@click.argument("month")
@ledger_option
@config_option
def close(month: str, ledger: str | None, config_file: Path | None) -> None:
    """Close MONTH, such as 2026-11: from now on it bills what it bills now.

    What becomes known of it later is billed in the month in which it becomes known. `headroom usage run closed_periods`
    shows both.

    \b
    Example:
      headroom usage close 2026-11 --ledger s3://my-bucket/ledger
    """  # noqa: D301 - click looks for the character that the escape stands for
    from jobs.usage.periods import ClosedPeriod, closed_at_ms, month_problem, why_not_over
    from jobs.usage.query import MeterSession
    from jobs.usage.store import StoreError

    if problem := month_problem(month):
        refuse([f"{month}: {problem}"])
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    opened = open_ledger(ledger, config_file)
    if month in {period.period for period in opened.closed_periods}:
        refuse([f"{month}: is closed already"])
    newest_ms = max((file.start_ms for file in opened.files.values() if file), default=None)
    if problem := why_not_over(month, now_ms, newest_ms):
        refuse([f"{month}: {problem}"])
    closed = ClosedPeriod(month, closed_at_ms(month, now_ms, newest_ms), 0, 0, 0)
    totals = told(lambda: MeterSession(opened, closing=closed).total(month))
    try:
        opened.close_period(closed._replace(wcu=totals[0], writes=totals[1], bytes_written=totals[2]))
    except StoreError as error:
        refuse([str(error)], EXIT_FAILED)
    wcu, writes, bytes_written = totals
    click.echo(f"{month} closed with {wcu:,} WCU in {writes:,} writes, {bytes_written:,} bytes written")


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
