"""The command `headroom tune`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from jobs.capacity.rules import uses_rules
from jobs.consumption.ledger_arguments import are_ledgers, read_ledger_consumption
from jobs.consumption.recorded import read_consumption
from jobs.options import Notation, cache_option, config_option, open_recordings, open_settings, refuse
from jobs.settings import Settings
from jobs.tune.cell import Judge
from jobs.tune.choices import (
    Axes,
    ChoicesError,
    at_step,
    by_minute,
    combinations,
    read_durations,
    read_kinds,
    read_leases,
    read_limits,
)
from jobs.tune.page import tune_page
from jobs.tune.suggest import Budget, suggest
from jobs.tune.view import (
    cell_json,
    show_cells,
    show_recording,
    show_suggestion,
    suggestion_json,
)
from jobs.view import open_console

_T = TypeVar("_T")


@click.command()
@click.argument("places", metavar="RECORDING|LEDGER...", nargs=-1, required=True, type=click.Path())
@config_option
@click.option(
    "--limit",
    "limits_wcu",
    metavar="WCU,...",
    type=Notation("limits", read_limits),
    default=(),
    help="Limits in place of limits.default_wcu; without it some below and above the one that is set.",
)
@click.option(
    "--window", "windows_ms", metavar="DURATION,...", type=Notation("durations", read_durations), default=(),
    help="In place of window.size.",
)  # fmt: skip
@click.option(
    "--step", "steps_ms", metavar="DURATION,...", type=Notation("durations", read_durations), default=(),
    help="In place of window.step.",
)  # fmt: skip
@click.option(
    "--kind", "kinds", metavar="KIND,...", type=Notation("kinds", read_kinds), default=(),
    help="In place of window.kind: cumulate, hop.",
)  # fmt: skip
@click.option(
    "--lease", "leases_ms", metavar="STEPS,...", type=Notation("leases", read_leases), default=(),
    help="In place of lease.steps, the steps of one joined by slashes: 2m/5m/10m,1m compares two.",
)  # fmt: skip
@click.option("--suggest", "suggesting", is_flag=True, help="Suggest a limit that keeps to the budget, and say why.")
@click.option(
    "--budget", type=Notation("budget", Budget.read), default="5/day", show_default=True,
    help="How many suspensions there may be: 5/day, 1/hour, 20/week, or 3 in the whole recording.",
)  # fmt: skip
@click.option(
    "--format", "output_format", type=click.Choice(["table", "json", "html"]), default="table", show_default=True,
    help="json: a list of cells (with --suggest an object with that list); html: a page of its own.",
)  # fmt: skip
@cache_option
def tune(
    places: tuple[str, ...],
    config_file: Path | None,
    suggesting: bool,
    budget: Budget,
    output_format: str,
    use_cache: bool,
    **axes: Any,
) -> None:
    """Tell what other limits, windows and leases would have done with a recorded change stream.

    Each combination is judged as `headroom replay` with those settings would; rules of the settings hold in all. A
    recording is read once; what was summed up is kept in a cache (`headroom cache show` tells where), checked against
    the files by content.

    A LEDGER is what `headroom replay --job usage` wrote, or s3://bucket/prefix. It holds sums of minutes, so windows,
    steps and leases are whole minutes, and without --step each window is looked at every minute.

    Refused is what was written while a lease of its key ran. That it would have been missing from later totals is not
    taken into account (`knock_on_modelled` in JSON).

    \b
    Examples:
      headroom tune day.jsonl.gz
      headroom tune day.jsonl.gz --limit 2000,4000,8000 --window 1m,2m,5m --lease 2m/5m/10m,1m
      headroom tune day.jsonl.gz --suggest --budget 5/day
      headroom tune usage --window 2m,5m,10m
      headroom tune day.jsonl.gz --format json | jq '.[] | select(.suspensions < 5) | .limit_wcu'
      headroom tune day.jsonl.gz --format html > tune.html
    """  # noqa: D301 - click looks for the character that the escape stands for
    settings = open_settings(config_file)
    if uses_rules(settings):
        refuse(
            ["rules: tune compares limits that hold for all of a recording; give settings without rules that change"]
        )
    if are_ledgers(places):
        given = _allowed(lambda: by_minute(settings, Axes(**axes)))
        settings, choices = at_step(settings, given.steps_ms[0]), _allowed(lambda: combinations(settings, given))
        consumption = read_ledger_consumption(places)
    else:
        choices = _allowed(lambda: combinations(settings, Axes(**axes)))
        files = open_recordings([Path(place) for place in places])
        consumption = read_consumption(files, settings, [settings, *choices], use_cache=use_cache)
    judge = Judge(consumption)
    cells = list(judge.cells(choices))
    suggestions = (
        [suggest(consumption, each, judge, budget) for each in _one_for_each_window(choices)] if suggesting else []
    )
    match output_format:
        case "json":
            told: Any = [cell_json(cell, consumption) for cell in cells]
            if suggesting:
                told = {
                    "suggestions": [suggestion_json(each, budget, consumption) for each in suggestions],
                    "cells": told,
                }
            click.echo(json.dumps(told, indent=2))
        case "html":
            sys.stdout.buffer.write(tune_page(cells, suggestions, budget, settings, consumption).encode())
        case _:
            console = open_console()
            show_recording(console, consumption, settings)
            for suggestion in suggestions:
                show_suggestion(console, suggestion, budget, consumption)
            show_cells(console, cells, settings, consumption)


def _allowed(make: Callable[[], _T]) -> _T:
    """What a function makes of the options; exits where no settings can be so."""
    try:
        return make()
    except ChoicesError as error:
        refuse(list(error.problems))


def _one_for_each_window(choices: list[Settings]) -> list[Settings]:
    """A choice for each window and lease: for each a limit of its own can be suggested."""
    return list({(choice.window, choice.lease): choice for choice in choices}.values())
