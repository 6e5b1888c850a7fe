"""The command `headroom hot-keys`."""

import json
import sys
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from jobs.consumption.recorded import read_consumption
from jobs.consumption.series import SECOND_MS
from jobs.hot_keys.ranking import PARTITION_WCU_PER_S, HotKey, Ranking, rankings, rankings_json
from jobs.options import cache_option, config_option, open_recordings, open_settings, paths_argument, refuse
from jobs.settings.durations import parse_duration
from jobs.settings.toml_text import printable
from jobs.view import PLAIN_TABLE, counted, open_console, utc

_NOTE = (
    f"Busiest second: a partition takes {PARTITION_WCU_PER_S:,} WCU a second. It may hold other keys too, and writes "
    "that no change stream tells of come on top."
)


@click.command("hot-keys")
@paths_argument
@config_option
@click.option("--period", default="1h", show_default=True, metavar="DURATION", help="Length of the periods compared.")
@click.option("--top", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Partition keys for each.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="json: a list of tables and periods.",
)
@cache_option
def hot_keys(
    paths: tuple[Path, ...], config_file: Path | None, period: str, top: int, output_format: str, use_cache: bool
) -> None:
    """Rank partition keys by the write capacity they consumed, for each table and period.

    Tells for each its share of the table, and the most it consumed in one second, marked where that came to 80 % of
    the 1,000 WCU a second that a partition takes. Periods begin at multiples of their length since 1970, UTC.

    \b
    Examples:
      headroom hot-keys day.jsonl.gz
      headroom hot-keys day.jsonl.gz --period 10m --top 5
      headroom hot-keys day.jsonl.gz --format json | jq '.[].top[0]'
    """  # noqa: D301 - click looks for the character that the escape stands for
    period_ms = parse_duration(period)
    if not period_ms or period_ms % SECOND_MS:
        refuse([f"--period: {period!r} is not a duration of whole seconds; write it like 1h, 10m or 1d"])
    settings = open_settings(config_file)
    consumption = read_consumption(open_recordings(paths), settings, use_cache=use_cache)
    ranked = rankings(consumption, period_ms, top)
    if output_format == "json":
        sys.stdout.buffer.write((json.dumps(rankings_json(ranked), indent=2, ensure_ascii=False) + "\n").encode())
        return
    console = open_console()
    if not ranked:
        console.print("The recording holds no change.")
        return
    for ranking in ranked:
        title = f"{ranking.table}, {utc(ranking.start_ms)} to {utc(ranking.end_ms)} UTC: {ranking.wcu:,} WCU"
        title = f"{printable(title)} of {counted(ranking.keys, 'partition key')}"
        console.print(title, style="bold", highlight=False, markup=False, soft_wrap=True)
        console.print(_table(ranking))
        if ranking.keys > len(ranking.top):
            console.print(f"... and {ranking.keys - len(ranking.top):,} more", highlight=False)
        console.print()
    console.print(_NOTE, soft_wrap=True, highlight=False)


def _table(ranking: Ranking) -> Table:
    table = Table(**PLAIN_TABLE)
    table.add_column("Partition key", overflow="fold")
    for heading in ("WCU", "Share", "Writes", "Busiest second"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for hot in ranking.top:
        table.add_row(
            escape(printable(hot.key[1])),
            f"{hot.wcu:,}",
            f"{hot.share:.1%}",
            f"{hot.writes:,}",
            f"{hot.busiest_second_wcu:,} WCU",
            _mark(hot),
        )
    return table


def _mark(hot: HotKey) -> str:
    if hot.partition_limit is None:
        return ""
    return f"partition limit {hot.partition_limit} at {utc(hot.busiest_second_ms).partition(' ')[2]}"
