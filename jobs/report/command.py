"""The command `headroom report`."""

import os
import tempfile
from pathlib import Path

import click

from jobs.capacity.kept import KeptResultError, open_result
from jobs.capacity.result_files import REPORT_FILE
from jobs.consumption.recorded import read_consumption
from jobs.options import EXIT_FAILED, cache_option, recording_option, refuse
from jobs.report.page import report_page


@click.command()
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("headroom-out"))
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Where to write the page.  [default: DIR/{REPORT_FILE}]",
)
@recording_option
@cache_option
def report(directory: Path, out: Path | None, recording: tuple[Path, ...], use_cache: bool) -> None:
    """Write a page about the result of a replay: one HTML file that needs no network.

    DIR is what `headroom replay` wrote, by default headroom-out. Consumption of keys that were not near their limits
    comes from the recording, which is read once more or found in the cache.

    \b
    Examples:
      headroom report
      headroom report both-days --out both-days.html
      headroom report result --recording /archive/day.jsonl.gz
    """  # noqa: D301 - click looks for the character that the escape stands for
    path = write_report(directory, out or directory / REPORT_FILE, recording, use_cache=use_cache)
    click.echo(f"Report in {path}")


def write_report(directory: Path, out: Path, recording: tuple[Path, ...] = (), *, use_cache: bool = True) -> Path:
    """Write the page of a result, in one step, and give its path; exits where that cannot be done."""
    try:
        result = open_result(directory)
        files = result.recording(recording)
        page = report_page(result, read_consumption(files, result.settings, use_cache=use_cache))
    except KeptResultError as error:
        refuse([str(error)])
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=out.parent, prefix=".", delete=False) as file:
            file.write(page)
        Path(file.name).chmod(0o666 & ~_umask())
        Path(file.name).replace(out)
    except OSError as error:
        refuse([f"{out}: cannot be written: {error.strerror or error}"], EXIT_FAILED)
    return out


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
