"""Usage ledgers among the places that a person names for a command, which exits where they cannot be used. I/O.

What reads them takes a while to load, which a command about recordings need not wait for.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.consumption.ledger_places import is_ledger
from jobs.options import EXIT_FAILED, refuse

if TYPE_CHECKING:
    from jobs.consumption.series import Consumption


def are_ledgers(places: Sequence[str]) -> bool:
    """Whether places are ledgers; exits where some are and some are not."""
    ledgers = [place for place in places if is_ledger(place)]
    others = [place for place in places if place not in ledgers]
    if ledgers and others:
        refuse([f"{ledgers[0]}: a usage ledger, and {others[0]}: none; name recordings or ledgers, not both"])
    return bool(ledgers)


def read_ledger_consumption(places: Sequence[str]) -> "Consumption":
    """What each partition key consumed in each minute; exits where a ledger cannot be read."""
    from jobs.consumption.ledger import read_ledgers
    from jobs.usage.ledger import LedgerError

    try:
        return read_ledgers(places)
    except LedgerError as error:
        refuse(error.problems, EXIT_FAILED)
