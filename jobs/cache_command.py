"""The commands `headroom cache show` and `headroom cache clear`."""

import click

from jobs.consumption.cache import ConsumptionCache, default_directory
from jobs.view import counted


@click.group()
def cache() -> None:
    """Show or clear what was kept of recordings that were read.

    `tune`, `report`, `explain` and `hot-keys` keep what they summed up in HEADROOM_CACHE_DIR, or else below the user's
    cache directory. Entries that nobody used for 30 days go by themselves.
    """


@cache.command()
def show() -> None:
    """Tell where the cache is, and how large.

    \b
    Examples:
      headroom cache show
    """  # noqa: D301 - click looks for the character that the escape stands for
    kept = ConsumptionCache(default_directory())
    entries = [size for path, size in kept.entries() if path.suffix == ".npz"]
    size = f"{sum(entries) / 1024**2:,.1f} MiB"
    click.echo(f"{kept.directory}: {counted(len(entries), 'recording')}, {size}")


@cache.command()
def clear() -> None:
    """Remove all entries.

    \b
    Examples:
      headroom cache clear
    """  # noqa: D301 - click looks for the character that the escape stands for
    kept = ConsumptionCache(default_directory())
    click.echo(f"{kept.directory}: {kept.clear() / 1024**2:,.1f} MiB freed")
