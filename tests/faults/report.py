"""The table of faults, as text and as a page."""

from collections.abc import Sequence

from tests.faults.loop import Row

_HEADINGS = ("Fault", "Actions", "Lost", "Duplicate effects", "Wrong", "Stuck", "Recovery")

_PAGE = """# Reliability

Made by `make faults` (a scenario alone: `python -m tests.faults NAME`) on {date}, on {machine}.
Nothing here is written by hand.

Each row is a fault in a stream that goes on meanwhile, on real servers: Flink in processes of its own, Kinesis and SQS
over HTTP, Valkey. Actions are compared with those of an oracle, plain Python over the sorted stream.

- **Lost**: the oracle decides it, and the cache never had it.
- **Duplicate effects**: the cache took it more than once.
- **Wrong**: the cache took it, and the oracle does not decide it (or it was past its end).
- **Stuck**: an entry in the cache without an end, or with one after its lease.
- **Recovery**: from the beginning of the fault, its length included, to the next effect of an action that was decided
  after it. Where a job starts again, most of that is the start of Flink on this machine, and so how busy that was.

What begins with *ledger* is the usage job: in place of actions the rows of its ledger of the minutes from then on, each
compared in WCU, writes and bytes. *Lost* are rows that are missing or say too little, *duplicate effects* rows that say
too much, *wrong* rows that the oracle does not have; recovery is to the next file of a minute after the beginning.

{table}

{verdict}
"""


def table(rows: Sequence[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|---|" + "---:|" * (len(_HEADINGS) - 1)]
    for row in rows:
        recovery = "-" if row.recovery_s is None else f"{row.recovery_s:.1f} s"
        cells = (row.fault, row.actions, row.lost, row.duplicate_effects, row.wrong, row.stuck, recovery)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def page(rows: Sequence[Row], date: str, machine: str) -> str:
    """All of `docs/reliability.md`."""
    unclean = [row.fault for row in rows if not row.is_clean]
    verdict = f"Not clean: {'; '.join(unclean)}." if unclean else "Nothing was lost, doubled, wrong or stuck."
    return _PAGE.format(date=date, machine=machine, table=table(rows), verdict=verdict)
