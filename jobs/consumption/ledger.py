"""The consumption that usage ledgers hold, by minute. I/O."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow
import pyarrow.compute

from jobs.consumption.ledger_places import ledger_at
from jobs.consumption.series import Consumption, Numbers, Spans
from jobs.recorded.distinct import Key
from jobs.recorded.reports import Counts
from jobs.settings.durations import MINUTE_MS
from jobs.usage.ledger import Ledger, LedgerError

_KEY: Final = ("table", "partition_key", "partition_key_type")
_SEPARATOR: Final = "\0"


def read_ledgers(places: Sequence[str]) -> Consumption:
    """What each partition key consumed in each minute, by ledgers that share no row.

    Corrections count as what they correct: changes that came too late for their windows.

    Raises:
        LedgerError: One cannot be read, or two hold the same rows.
    """
    rows = pyarrow.concat_tables(_rows(place, number) for number, place in enumerate(places))
    if len(places) > 1:
        _require_apart(rows, places)
    keys, key = _numbered(rows)
    window_ms, corrects_ms, wcu, writes = (
        rows[name].to_numpy() for name in ("window_start_ms", "corrects_ms", "wcu", "writes")
    )
    late = corrects_ms >= 0
    on_time = Spans.summed(key[~late], window_ms[~late], wcu[~late], writes[~late])
    corrected = Spans.summed(key[late], corrects_ms[late], wcu[late], writes[late])
    counts = Counts(changes=int(writes.sum()), late=int(writes[late].sum()))
    if len(rows):
        made_ms = np.where(late, corrects_ms, window_ms)
        counts.seen(int(made_ms.min()), int(made_ms.max()) + MINUTE_MS - 1)
    return Consumption(keys, MINUTE_MS, on_time, corrected, counts)


def _rows(place: str, number: int) -> Any:
    ledger = Ledger(ledger_at(place))
    columns = [*_KEY, "window_start_ms", "event_name", "corrects", "wcu", "writes"]
    try:
        rows = ledger.dataset().to_table(columns=columns)
    except (OSError, pyarrow.ArrowException) as error:
        message = f"{place}: {str(error).partition('.')[0]}"
        ledger.require_uncompacted()
        raise LedgerError([message]) from error
    ledger.require_uncompacted()
    corrects_ms = pyarrow.compute.fill_null(rows["corrects"], -1)
    of_ledger = pyarrow.array(np.full(len(rows), number))
    return rows.append_column("corrects_ms", corrects_ms).append_column("ledger", of_ledger)


def _require_apart(rows: Any, places: Sequence[str]) -> None:
    """Refuse ledgers of which two have the same row, which would count twice."""
    names = [*_KEY, "window_start_ms", "event_name", "corrects_ms"]
    held = rows.group_by(names).aggregate([("ledger", "min"), ("ledger", "max")])
    twice = held.filter(pyarrow.compute.not_equal(held["ledger_min"], held["ledger_max"]))
    if len(twice):
        first, second = (places[twice[name][0].as_py()] for name in ("ledger_min", "ledger_max"))
        raise LedgerError([f"{second}: holds {len(twice):,} rows that are in {first} too, and would count twice"])


def _numbered(rows: Any) -> tuple[list[Key], Numbers]:
    """The partition keys, sorted, and for each row the place of its own."""
    joined = pyarrow.compute.binary_join_element_wise(*(rows[name] for name in _KEY), _SEPARATOR)
    encoded = joined.combine_chunks().dictionary_encode()
    found = [_key(text) for text in encoded.dictionary.to_pylist()]
    keys = sorted(found)
    places = {key: place for place, key in enumerate(keys)}
    numbers = np.array([places[key] for key in found], np.int64)
    return keys, numbers[encoded.indices.to_numpy()] if len(rows) else np.empty(0, np.int64)


def _key(joined: str) -> Key:
    # Neither the name of a table nor a type has the separator in it.
    table, _, rest = joined.partition(_SEPARATOR)
    partition_key, _, key_type = rest.rpartition(_SEPARATOR)
    return table, partition_key, key_type
