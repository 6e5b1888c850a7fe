"""The commands `headroom spot plan` and `headroom spot apply`.

The `headroom` command is of the jobs, which import no actuator: it finds these two by their names.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import boto3
import click

from connectors.prices import Prices, PricesError
from lambdas.spot.act import Act
from lambdas.spot.amazon import CALL_FAILED, AmazonError, Clients, amazon_error, connect
from lambdas.spot.describe import Describe
from lambdas.spot.drive import Driver
from lambdas.spot.group_policy import DEFAULT_TAG
from lambdas.spot.journal import JournalCorruptError, JournalStore, Remembered
from lambdas.spot.plan import GroupPlan, plan_fleet
from lambdas.spot.plan_text import lines_of, to_json
from lambdas.spot.price_list import OnDemandPrices
from lambdas.spot.saga_step import SagaSettings
from lambdas.spot.scan import Scanned, load_prices, scan_fleet, settings_of
from lambdas.spot.snapshot import SnapshotError, read_snapshot
from lambdas.spot.swap import Outcome, PlannedSwap
from lambdas.spot.swap_run import SwapRun

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _shared(command: _Command) -> _Command:
    for option in (
        click.option(
            "--prices",
            "prices_file",
            metavar="FILE",
            envvar="HEADROOM_PRICES",
            type=click.Path(path_type=Path),
            help="Prices that go before those of AWS; docs/spot.md has the format.",
        ),
        click.option(
            "--compute-plan-percent",
            "compute_percent",
            type=click.IntRange(0, 100),
            default=100,
            show_default=True,
            envvar="HEADROOM_COMPUTE_PLAN_PERCENT",
            help="How much of each Compute Savings Plan Fargate, Lambda and other Regions leave.",
        ),
        click.option(
            "--tag",
            default=DEFAULT_TAG,
            show_default=True,
            envvar="HEADROOM_MANAGED_TAG",
            help="The tag of the groups that may be changed.",
        ),
        click.option("--group", "only", metavar="NAME", help="Only this group."),
        click.option(
            "--table",
            metavar="NAME",
            envvar="HEADROOM_SWAP_TABLE",
            help="The DynamoDB table of the journal: swaps under way, and what is known of Spot markets.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@_shared
@click.option(
    "--snapshot",
    "snapshot_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Plan for the fleet in a file, and ask nobody; docs/spot-actuators.md has the format.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(
    prices_file: Path | None,
    compute_percent: int,
    tag: str,
    only: str | None,
    table: str | None,
    snapshot_file: Path | None,
    as_json: bool,
) -> None:
    """Tell which instances would be swapped, for what, why, and what that saves. Changes nothing.

    The account is the one of your AWS credentials (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, ...).

    \b
    Examples:
      headroom spot plan --snapshot examples/spot-fleet.json --prices examples/spot-prices.json
      headroom spot plan --table headroom-swaps
      headroom spot plan --prices prices.json --json > plan.json

    \b
    Exit status: 0 done, 1 AWS did not answer, 2 the command, the snapshot or the price file is wrong.
    """  # noqa: D301 - click looks for the character that the escape stands for
    listed = _prices(prices_file)
    if snapshot_file is None:
        scanned, remembered, _ = _look(listed, tag, table, compute_percent)
    else:
        scanned, remembered = _snapshot(snapshot_file, listed, tag, compute_percent), Remembered()
    plans = _plans(scanned, remembered, tag, only)
    if as_json:
        click.echo(to_json(plans, scanned.cover.told, scanned.fleet.prices.currency))
    else:
        _show(plans, scanned)


@click.command()
@_shared
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Stop after the plan.")
def apply(
    prices_file: Path | None,
    compute_percent: int,
    tag: str,
    only: str | None,
    table: str | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Swap what `headroom spot plan` tells, from here, and wait until it is done.

    Every step is written to the journal first. Interrupted at any moment, the next run or the actuators finish or undo
    what is begun. The journal is the DynamoDB table --table, with a string key `key`.

    \b
    Examples:
      headroom spot apply --table headroom-swaps --dry-run
      headroom spot apply --table headroom-swaps --group web

    \b
    Exit status: 0 every swap is done or was not needed any more, 1 one was undone or AWS did not answer, 2 the command
    or the price file is wrong, 130 interrupted.
    """  # noqa: D301 - click looks for the character that the escape stands for
    if not table:
        _refuse("--table names no journal; without one nothing is changed")
    scanned, remembered, clients = _look(_prices(prices_file), tag, table, compute_percent)
    plans = _plans(scanned, remembered, tag, only)
    _show(plans, scanned)
    begun = [name for name, journal in remembered.groups.items() if journal.is_open and only in (None, name)]
    for name in begun:
        click.echo(f"{name}: swaps are under way, and will be finished")
    swaps = [swap for one in plans for swap in one.swaps]
    if dry_run or not (swaps or begun):
        return
    if not yes:
        click.confirm(f"Swap {len(swaps)} now?", abort=True)
    sys.exit(_EXIT_FAILED if _carry_out(clients, table, tag, swaps, begun) else 0)


def _show(plans: list[GroupPlan], scanned: Scanned) -> None:
    width = shutil.get_terminal_size((0, 0)).columns or None  # what is no terminal has no width
    for line in lines_of(plans, scanned.cover.told, scanned.fleet.prices.currency, width=width):
        click.echo(line)


def _carry_out(clients: Clients, table: str, tag: str, swaps: list[PlannedSwap], begun: list[str]) -> int:
    """How many swaps came to nothing."""
    driver = Driver(
        Describe(clients), Act(clients), JournalStore(clients.dynamodb, table), tag=tag, settings=SagaSettings(),
        clock_ms=_now_ms,
    )  # fmt: skip
    run = SwapRun(driver, swaps, begun)
    failed = 0
    while not run.is_done:
        try:
            news = run.go_on(_now_ms())
        except (JournalCorruptError, AmazonError) as error:
            _refuse(str(error), _EXIT_FAILED)
        for line in news.lines:
            click.echo(line)
        failed += sum(ended.outcome is Outcome.UNDONE for ended in news.ended) + len(news.given_up)
        if not run.is_done:
            time.sleep(max(0, run.next_at_ms - _now_ms()) / 1_000)
    return failed


def _now_ms() -> int:
    return int(time.time() * 1_000)


def _prices(path: Path | None) -> Prices:
    try:
        return load_prices(path)
    except OSError as error:
        _refuse(f"{path}: {error.strerror or error}")
    except PricesError as error:
        _refuse(f"{path}: {error}")


def _snapshot(path: Path, listed: Prices, tag: str, compute_percent: int) -> Scanned:
    try:
        return read_snapshot(path, listed, tag, compute_percent)
    except OSError as error:
        _refuse(f"{path}: {error.strerror or error}")
    except SnapshotError as error:
        _refuse(f"{path}: {error}")


def _look(listed: Prices, tag: str, table: str | None, compute_percent: int) -> tuple[Scanned, Remembered, Clients]:
    region = os.environ.get("AWS_REGION") or boto3.session.Session().region_name
    if not region:
        _refuse("no Region: set AWS_REGION, or plan for a file with --snapshot")
    try:
        session = boto3.session.Session(region_name=region)
        clients = connect(session)
        account = session.client("sts").get_caller_identity()["Account"]
        remembered = JournalStore(clients.dynamodb, table).everything() if table else Remembered()
        click.echo(f"Looking at the groups of {account} in {region} ...", err=True)
        scanned = scan_fleet(
            Describe(clients), account=account, region=region, at_ms=_now_ms(), tag=tag,
            on_demand=OnDemandPrices(listed, _cache_directory() / f"on-demand-prices-{region}.json"),
            compute_percent=compute_percent, markets=remembered.markets,
        )  # fmt: skip
    except CALL_FAILED as error:
        _refuse(str(amazon_error(error, "AWS")), _EXIT_FAILED)
    except (AmazonError, JournalCorruptError) as error:
        _refuse(str(error), _EXIT_FAILED)
    for note in scanned.notes:
        click.echo(f"headroom: {note}", err=True)
    return scanned, remembered, clients


def _cache_directory() -> Path:
    """As the other commands have it: HEADROOM_CACHE_DIR, else below the user's cache directory."""
    if named := os.environ.get("HEADROOM_CACHE_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headroom"


def _plans(scanned: Scanned, remembered: Remembered, tag: str, only: str | None) -> list[GroupPlan]:
    settings = settings_of(tag, scanned.cover)
    plans = [one for one in plan_fleet(scanned.fleet, remembered.groups, settings) if only in (None, one.group)]
    if only is not None and not plans:
        _refuse(f"there is no group {only} with the tag {tag}")
    return plans


def _refuse(problem: str, exit_code: int = _EXIT_USAGE) -> NoReturn:
    click.echo(f"headroom: {problem}", err=True)
    sys.exit(exit_code)
