"""The commands `headroom usage list` and `show`: which meters there are, and what each is."""

from typing import Any

import click

from jobs.sql_text import sql_text
from jobs.usage.arguments import chosen_meter, pairs_of, param_option, told


@click.command("list")
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
        required = [f"--param {each.name}=..." for each in meter.parameters if each.default is None]
        needed = [need.option for need in meter.needs]
        click.echo("  " + " ".join(["headroom usage run", meter.name, *required, *needed]))
        for parameter in meter.parameters:
            default = "required" if parameter.default is None else f"default {parameter.default or 'none'}"
            click.echo(f"    --param {parameter.name}=<{parameter.kind}>  {parameter.text} ({default})")
        click.echo(f"  explained by {', '.join(meter.identity)}\n")


@click.command()
@click.argument("meter")
@param_option
def show(meter: str, params: tuple[str, ...]) -> None:
    """Print METER as Athena runs it: the query, and the execution parameters in their order.

    \b
    Example:
      headroom usage show invoice_lines --param month=2026-11
    """  # noqa: D301 - click looks for the character that the escape stands for
    chosen = chosen_meter(meter)
    pairs = pairs_of(params, "--param")
    query, order = told(lambda: chosen.for_athena(chosen.values_given(pairs)))
    click.echo(query.rstrip())
    values = told(lambda: chosen.values(pairs)) if pairs else {}
    for number, name in enumerate(order, 1):
        click.echo(f"-- parameter {number}: {name}" + (f" = {_literal(values[name])}" if name in values else ""))


def _literal(value: Any) -> str:
    """A value as Athena takes it among its execution parameters."""
    return sql_text(value) if isinstance(value, str) else str(value)
