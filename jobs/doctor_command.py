"""The command `headroom doctor`."""

import sys
from typing import Final

import click

from jobs.doctor import Verdict, examine
from jobs.options import EXIT_FAILED

_COLOURS: Final = {Verdict.OK: "green", Verdict.MISSING: "red", Verdict.OPTIONAL: "yellow"}


@click.command()
def doctor() -> None:
    """Check what this machine lacks, and say what to do about it.

    \b
    Example:
      headroom doctor

    \b
    Exit status: 0 when all that every command needs is there, 1 when something is missing. What only some commands
    need is told as optional.
    """  # noqa: D301 - click looks for the character that the escape stands for
    missing = 0
    for finding in examine():
        missing += finding.verdict is Verdict.MISSING
        verdict = click.style(f"{finding.verdict.value:<9}", fg=_COLOURS[finding.verdict])
        click.echo(f"{verdict} {finding.name}: {finding.found}")
        if finding.remedy:
            click.echo(f"          {finding.remedy}")
    if missing:
        click.echo(f"headroom: {missing} missing", err=True)
        sys.exit(EXIT_FAILED)
