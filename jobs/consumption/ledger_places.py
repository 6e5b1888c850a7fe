"""Where a usage ledger is at a place that a person names. I/O."""

from pathlib import Path
from typing import Final

_S3: Final = "s3://"
_LEDGER: Final = "ledger"


def is_ledger(place: str) -> bool:
    """Whether a place is a ledger, or the result of a replay that has one in it."""
    if place.startswith(_S3):
        return True
    return (Path(place) / _LEDGER).is_dir() or any(Path(place).glob("table=*"))


def ledger_at(place: str) -> str:
    """The place of the ledger itself."""
    below = Path(place) / _LEDGER
    return str(below) if not place.startswith(_S3) and below.is_dir() else place
