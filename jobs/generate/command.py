"""The command `headroom generate`: options in, a recording out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobs.generate import notation
from jobs.generate.malformed import UNFRAMED, MalformedKind
from jobs.generate.profile import Misbehaving, Profile, ProfileError
from jobs.generate.stream import records as generated
from jobs.generate.write import Form, obstacle, write_recording
from jobs.options import Notation

_DEFAULT_RECORDS: Final = 100_000
_PROGRESS_AFTER_S: Final = 2.0
_MOST_SHARDS: Final = 1_000
_EXAMPLES: Final = """
\b
Examples:
  headroom generate out.jsonl.gz
  headroom generate calm.jsonl --records 20000 --misbehaving none
  headroom generate hour.jsonl.gz --duration 1h --rate 50/s --seed 7
  headroom generate hot.jsonl --misbehaving tenant-000221:3m:90s:400/s \\
                              --misbehaving sessions/tenant-000007:5m:1m:20/s:8KB..12KB
  headroom generate large.jsonl --item-bytes 40..1500@98,4KB..64KB@1.9,64KB..400KB@0.1
  headroom generate meters.jsonl --tables meters:number=N:at=N
  headroom generate shards --files 4 --gzip
"""


_DURATION: Final = Notation("duration", notation.duration_ms)
_FRACTION: Final = click.FloatRange(0, 1)


@click.command("generate", epilog=_EXAMPLES, context_settings={"max_content_width": 110})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--records", type=click.IntRange(1), help="Lines to write.  [default: 100000 without --duration]")
@click.option("--duration", "duration_ms", type=_DURATION, help="Event time to cover, such as 10m.")
@click.option(
    "--rate",
    "rate_per_s",
    type=Notation("rate", notation.rate_per_s),
    default="200/s",
    show_default=True,
    help="Changes of all tenants together.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed and options give the same bytes.")
@click.option(
    "--start",
    "start_ms",
    type=Notation("time", notation.instant_ms),
    default="2026-11-20T10:00:00Z",
    show_default=True,
    help="Event time of the beginning.",
)
@click.option(
    "--tenants",
    type=click.IntRange(1, 10_000_000),
    default=2_000,
    show_default=True,
    help="Partition keys: tenant-000001 is the busiest.",
)
@click.option(
    "--zipf",
    type=click.FloatRange(0, 10),
    default=1.1,
    show_default=True,
    help="Exponent of Zipf's law; 0 makes all tenants equal.",
)
@click.option(
    "--tables",
    type=Notation("tables", notation.tables),
    default="conversations:pk:sk,sessions:id",
    show_default=True,
    help="NAME:PARTITION_KEY[:SORT_KEY], separated by commas; KEY=N and KEY=B for keys of another type.",
)
@click.option(
    "--misbehaving",
    type=Notation("tenant", notation.misbehaving),
    multiple=True,
    help='[TABLE/]KEY:START:LENGTH:RATE[:SIZES], repeatable; "none" for nobody.'
    "  [default: tenant-000221 in the second quarter]",
)
@click.option(
    "--item-bytes",
    type=Notation("sizes", notation.size_ranges),
    default="40..1500@98,1500..40KB@1.95,40KB..400KB@0.05",
    show_default=True,
    help="Sizes of items, small ones likelier: ranges, each with its share.",
)
@click.option(
    "--modify-ratio",
    type=_FRACTION,
    default=0.55,
    show_default=True,
    help="Of changes; what the ratios leave are inserts.",
)
@click.option(
    "--remove-ratio", type=_FRACTION, default=0.08, show_default=True, help="Deletes that somebody asked for."
)
@click.option("--ttl-ratio", type=_FRACTION, default=0.02, show_default=True, help="Deletes by time to live.")
@click.option("--duplicates", type=_FRACTION, default=0.01, show_default=True, help="Fraction that arrives twice.")
@click.option(
    "--disorder",
    "disorder_ms",
    type=_DURATION,
    default="1.5s",
    show_default=True,
    help="The most that a record is behind an earlier one.",
)
@click.option("--late", type=_FRACTION, default=0.001, show_default=True, help="Fraction that is later than that.")
@click.option(
    "--late-by",
    "late_by_ms",
    type=Notation("durations", notation.durations_ms),
    default="2m30s..6m",
    show_default=True,
    help="How late; none is in a recording that ends before.",
)
@click.option("--malformed", type=_FRACTION, default=0.001, show_default=True, help="Malformed records added.")
@click.option(
    "--microseconds",
    type=_FRACTION,
    default=0.3,
    show_default=True,
    help="Fraction with time in microseconds.",
)
@click.option("--files", "shards", type=click.IntRange(1, _MOST_SHARDS), help="Make OUT a directory of so many shards.")
@click.option("--gzip/--no-gzip", "compress", default=None, help="[default: as the name of OUT ends]")
@click.option(
    "--form",
    type=click.Choice([form.value for form in Form]),
    default=Form.LINES.value,
    show_default=True,
    help="How records stand in a file.",
)
@click.option("--force", is_flag=True, help="Replace OUT when it exists.")
@click.pass_context
def generate(
    ctx: click.Context,
    /,
    out: Path,
    *,
    shards: int | None,
    compress: bool | None,
    form: str,
    force: bool,
    **wanted: Any,
) -> None:
    """Write a realistic recording of a DynamoDB change stream to OUT.

    Tenants write by Zipf's law, and misbehaving ones more for a while. Items have all types of attributes
    and exact sizes, records arrive out of order, twice, late and malformed: as they do in production.
    """
    profile = _profile(ctx, Form(form), **wanted)
    in_the_way = obstacle(out, shards=shards, force=force)
    if in_the_way is not None:
        hint = " (--force replaces it)" if in_the_way == "exists already" else ""
        message = f"{out} {in_the_way}{hint}."
        raise click.BadParameter(message, ctx, param_hint="OUT")
    with _progress(profile.expected_records) as advance:
        try:
            written, size_bytes = write_recording(
                generated(profile),
                out,
                form=Form(form),
                compress=out.name.endswith(".gz") if compress is None else compress,
                shards=shards,
                on_progress=advance,
            )
        except OSError as error:
            message = f"cannot write {out}: {error.strerror}."
            raise click.BadParameter(message, ctx, param_hint="OUT") from error
    click.echo(f"{out}: {written:,} records, {size_bytes / 1e6:,.1f} MB")


def _profile(ctx: click.Context, form: Form, *, misbehaving: tuple[Misbehaving | None, ...], **wanted: Any) -> Profile:
    if wanted["records"] is None and wanted["duration_ms"] is None:
        wanted["records"] = _DEFAULT_RECORDS
    if form is Form.CONCATENATED:
        # With nothing between records, one without an end would take the next with it.
        wanted["malformed_kinds"] = tuple(kind for kind in MalformedKind if kind not in UNFRAMED)
    try:
        calm = Profile(**wanted)
        tenants = tuple(filter(None, misbehaving)) if misbehaving else (_someone_misbehaving(calm),)
        return replace(calm, misbehaving=tenants)
    except ProfileError as error:
        option = next((option for option in ctx.command.params if option.name == error.field), None)
        message = f"{error.reason}."
        raise click.BadParameter(message, ctx, option) from error


def _someone_misbehaving(calm: Profile) -> Misbehaving:
    """A tenant that adds half of everybody's rate in the second quarter of the recording, 90 s at most."""
    quarter_ms = max(1, int(calm.expected_ms / 4))
    return Misbehaving("tenant-000221", quarter_ms, min(90_000, quarter_ms), calm.rate_per_s / 2)


@contextmanager
def _progress(expected_records: int) -> Iterator[Callable[[int], None]]:
    """A function to tell of records written: it shows a bar on a terminal once that has taken a while."""
    console = Console(stderr=True)
    columns = (
        TextColumn("generating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("", total=expected_records)
    show_at_s = monotonic() + _PROGRESS_AFTER_S

    def advance(count: int) -> None:
        bar.advance(task, count)
        if console.is_terminal and not bar.live.is_started and monotonic() > show_at_s:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
