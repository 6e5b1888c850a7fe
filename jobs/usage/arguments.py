"""Options that several `headroom usage` commands share, and what they mean."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from jobs.options import EXIT_FAILED, open_settings, refuse

if TYPE_CHECKING:  # what these load takes a while, which a mistake in a command need not wait for
    from jobs.usage.ledger import Ledger
    from jobs.usage.meter import Meter
    from jobs.usage.prices import Tier

_T = TypeVar("_T")

ledger_option = click.option(
    "--ledger",
    metavar="PATH",
    help="The ledger: a directory, that of a replay's result, or s3://bucket/prefix. Default: usage.ledger of the "
    "settings.",
)
param_option = click.option(
    "--param", "params", metavar="NAME=VALUE", multiple=True, help="A parameter of the meter; can be repeated."
)
prices_option = click.option(
    "--prices",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Price table, CSV or TOML, for meters that need one.",
)


def place_of(ledger: str | None, config_file: Path | None) -> tuple[str, str | None, str | None]:
    """Where the ledger is that a command is about: location, Region and endpoint, as `LedgerStore` takes them."""
    usage = open_settings(config_file).usage
    return usage.ledger if ledger is None else _location(ledger), usage.region, usage.endpoint_url


def _location(ledger: str) -> str:
    below = Path(ledger) / "ledger"
    # The directory of a replay's result has the ledger in it.
    return str(below) if not ledger.startswith("s3://") and below.is_dir() else ledger


def open_ledger(ledger: str | None, config_file: Path | None) -> "Ledger":
    """The ledger that a command is about; exits where it cannot be read."""
    from jobs.usage.ledger import Ledger, LedgerError

    try:
        opened = Ledger(*place_of(ledger, config_file))
    except LedgerError as error:
        refuse(error.problems, EXIT_FAILED)
    if not opened.files:
        click.echo(f"headroom: {opened.store.location}: has no file of a ledger in it", err=True)
    return opened


def open_prices(path: Path | None) -> "list[Tier] | None":
    """The tiers of a price table, None without one; exits where it has a mistake."""
    from jobs.usage.prices import read_prices

    return None if path is None else told(lambda: read_prices(text_of(path), str(path)))


def text_of(path: Path) -> str:
    """What a file says; exits where it is no text."""
    try:
        return path.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before the first line
    except UnicodeDecodeError:
        refuse([f"{path}: not UTF-8 text"])
    except OSError as error:
        refuse([f"{path}: {error.strerror or error}"])


def told(do: Callable[[], _T]) -> _T:
    """What a function gives; exits where it tells of a mistake of the user's, or that a meter failed."""
    from jobs.usage.consumed import ConsumedError
    from jobs.usage.meter import MeterError, MeterFailedError
    from jobs.usage.parameters import ParameterError
    from jobs.usage.prices import PriceError

    try:
        return do()
    except MeterFailedError as error:
        refuse([str(error)], EXIT_FAILED)
    except (ConsumedError, MeterError, ParameterError, PriceError) as error:
        refuse([str(error)])


def chosen_meter(name: str) -> "Meter":
    """A meter that ships, or one in a file; exits where there is none."""
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


def pairs_of(texts: Sequence[str], option: str) -> dict[str, str]:
    """Names and values from texts such as NAME=VALUE; exits where one is not such a text, or comes twice."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            refuse([f"{option} {text}: not NAME=VALUE"])
        if name in pairs:
            refuse([f"{option} {name}: is given twice"])
        pairs[name] = value
    return pairs
