"""The recording that all competitors read, made on the spot. I/O."""

from collections.abc import Callable
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final

from jobs.generate import Misbehaving, Profile, SizeRange, records
from jobs.generate.write import Form, write_recording

_BLOCK_BYTES: Final = 16 << 20
_HOT_ITEM: Final = (SizeRange(8_000, 8_000),)


def profile(record_count: int) -> Profile:
    """A busy day's pace, a billion changes a day, from a product whose items are small.

    Sizes are such that what each write cost follows from `SizeBytes` with one halving, so that engines that cannot
    weigh an image come to the same sums: items of at most 960 bytes cost one unit, those of 8,000 bytes eight.
    """
    rate_per_s = 11_600
    misbehaving = (
        # From the first second, so that a part of the recording has a crossing too; it has no items of other sizes.
        Misbehaving("tenant-020001", 0, 10_000, 400, _HOT_ITEM),
        Misbehaving("tenant-004711", 30_000, 90_000, 100),
        Misbehaving("tenant-012345", 60_000, 45_000, 200, table="sessions"),
    )
    length_ms = record_count / rate_per_s * 1_000
    return Profile(
        records=record_count,
        rate_per_s=rate_per_s,
        tenants=20_000,
        zipf=1.05,
        item_bytes=(SizeRange(40, 960),),
        misbehaving=tuple(tenant for tenant in misbehaving if tenant.start_ms < length_ms),
        disorder_ms=1_000,
        late=0,
        malformed=0,
    )


def path_of(wanted: Profile, directory: Path) -> Path:
    """Where such a recording is kept."""
    return directory / f"recording-{wanted.records}-{sha256(repr(wanted).encode()).hexdigest()[:8]}.jsonl"


def make(wanted: Profile, path: Path, on_progress: Callable[[int], None]) -> None:
    """Write a recording; `on_progress` is told how many records were added."""
    write_recording(records(wanted), path, form=Form.LINES, compress=False, shards=None, on_progress=on_progress)


def write_part(path: Path, record_count: int) -> Path:
    """A recording of the first records of another."""
    part = path.with_name(f"{path.stem}-first-{record_count}.jsonl")
    with path.open("rb") as whole, part.open("wb") as out:
        out.writelines(islice(whole, record_count))
    return part


def warm(path: Path) -> None:
    """Read it once, so that the first competitor finds it in memory as the others do."""
    with path.open("rb", buffering=0) as file:
        while file.read(_BLOCK_BYTES):
            pass
