"""The command `headroom hot-keys`."""

import json
import sys
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from jobs.consumption.ledger_arguments import are_ledgers, read_ledger_consumption
from jobs.consumption.recorded import read_consumption
from jobs.consumption.series import SECOND_MS, Consumption
from jobs.hot_keys.page import hot_keys_page
from jobs.hot_keys.ranking import PARTITION_WCU_PER_S, HotKey, Ranking, rankings, rankings_json
from jobs.options import cache_option, config_option, open_recordings, open_settings, refuse
from jobs.settings import Settings
from jobs.settings.durations import MINUTE_MS, format_duration, parse_duration
from jobs.settings.toml_text import printable
from jobs.view import PLAIN_TABLE, counted, open_console, utc

_NOTE = (
    f"A partition takes {PARTITION_WCU_PER_S:,} WCU a second. It may hold other keys too, and writes "
    "that no change stream tells of come on top."
)

_LEDGER_NOTE = (
    "From a ledger, which holds sums of minutes: a mark tells that some second came so far for certain; without one "
    "that is not known. A recording tells."
)


@click.command("hot-keys")
@click.argument("places", metavar="RECORDING|LEDGER...", nargs=-1, required=True, type=click.Path())
@config_option
@click.option("--period", default="1h", show_default=True, metavar="DURATION", help="Length of the periods compared.")
@click.option("--top", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Partition keys for each.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "html"]),
    default="table",
    show_default=True,
    help="json: a list of tables and periods; html: a page of its own.",
)
@cache_option
def hot_keys(
    places: tuple[str, ...], config_file: Path | None, period: str, top: int, output_format: str, use_cache: bool
) -> None:
    """Rank partition keys by the write capacity they consumed, for each table and period.

    Tells for each its share of the table, and the most it consumed in one second, marked where that came to 80 % of
    the 1,000 WCU a second that a partition takes. Periods begin at multiples of their length since 1970, UTC. Of a
    LEDGER, what `headroom replay --job usage` wrote, the busiest minute is told in place of the second.

    \b
    Examples:
      headroom hot-keys day.jsonl.gz
      headroom hot-keys day.jsonl.gz --period 10m --top 5
      headroom hot-keys day.jsonl.gz --format html > hot-keys.html
      headroom hot-keys day.jsonl.gz --format json | jq '.[].top[0]'
    """  # noqa: D301 - click looks for the character that the escape stands for
    period_ms = parse_duration(period)
    if not period_ms or period_ms % SECOND_MS:
        refuse([f"--period: {period!r} is not a duration of whole seconds; write it like 1h, 10m or 1d"])
    settings = open_settings(config_file)
    consumption = _consumption(places, period_ms, settings, use_cache=use_cache)
    ranked = rankings(consumption, period_ms, top)
    if output_format == "json":
        sys.stdout.buffer.write((json.dumps(rankings_json(ranked), indent=2, ensure_ascii=False) + "\n").encode())
        return
    notes = [_NOTE, *([_LEDGER_NOTE] if consumption.is_by_minute else [])]
    if output_format == "html":
        sys.stdout.buffer.write(hot_keys_page(ranked, notes, consumption).encode())
        return
    _show(ranked, notes)


def _show(ranked: list[Ranking], notes: list[str]) -> None:
    console = open_console()
    if not ranked:
        console.print("There is no change in it.")
        return
    for ranking in ranked:
        title = f"{ranking.table}, {utc(ranking.start_ms)} to {utc(ranking.end_ms)} UTC: {ranking.wcu:,} WCU"
        title = f"{printable(title)} of {counted(ranking.keys, 'partition key')}"
        console.print(title, style="bold", highlight=False, markup=False, soft_wrap=True)
        console.print(_table(ranking))
        if ranking.keys > len(ranking.top):
            console.print(f"... and {ranking.keys - len(ranking.top):,} more", highlight=False)
        console.print()
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False)


def _consumption(places: tuple[str, ...], period_ms: int, settings: Settings, *, use_cache: bool) -> Consumption:
    if not are_ledgers(places):
        return read_consumption(open_recordings([Path(place) for place in places]), settings, use_cache=use_cache)
    if period_ms % MINUTE_MS:
        length = format_duration(period_ms)
        refuse([f"--period: {length} is not a whole number of minutes, of which a usage ledger holds the sums"])
    return read_ledger_consumption(places)


def _table(ranking: Ranking) -> Table:
    table = Table(**PLAIN_TABLE)
    table.add_column("Partition key", overflow="fold")
    busiest = "Busiest second" if ranking.top[0].busiest_length_ms == SECOND_MS else "Busiest minute"
    for heading in ("WCU", "Share", "Writes", busiest):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for hot in ranking.top:
        table.add_row(
            escape(printable(hot.key[1])),
            f"{hot.wcu:,}",
            f"{hot.share:.1%}",
            f"{hot.writes:,}",
            f"{hot.busiest_wcu:,} WCU",
            _mark(hot),
        )
    return table


def _mark(hot: HotKey) -> str:
    if hot.partition_limit is None:
        return ""
    return f"partition limit {hot.partition_limit} at {utc(hot.busiest_ms).partition(' ')[2]}"
