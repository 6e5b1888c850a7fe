from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.prices import (
    HOUR_MS,
    NOTHING_PRICED,
    HourlyPrice,
    Priced,
    Prices,
    PricesError,
    SpotPrice,
    read_prices,
    write_prices,
)

POOL = {"zone": "eu-west-1b", "instance_type": "m7g.large", "platform": "Linux/UNIX"}
TYPE = {"region": "eu-west-1", "instance_type": "m7g.large", "platform": "Linux/UNIX"}
FIRST, SECOND = (
    SpotPrice(**POOL, at_ms=10 * HOUR_MS, per_hour=Decimal("0.03")),
    SpotPrice(**POOL, at_ms=12 * HOUR_MS, per_hour=Decimal("0.05")),
)
PRICES = Prices(
    "USD",
    on_demand=[HourlyPrice(**TYPE, per_hour=Decimal("0.091"))],
    spot=[SECOND, FIRST],
    covered=[HourlyPrice(**TYPE, per_hour=Decimal("0.057"))],
)


@pytest.mark.parametrize(
    ("at_ms", "per_hour"),
    [
        (10 * HOUR_MS - 1, None),
        (10 * HOUR_MS, "0.03"),
        (10 * HOUR_MS + 1, "0.03"),
        (12 * HOUR_MS - 1, "0.03"),
        (12 * HOUR_MS, "0.05"),
        (99 * HOUR_MS, "0.05"),
    ],
)
def test_a_spot_price_holds_from_its_time_until_the_next(at_ms: int, per_hour: str | None) -> None:
    assert PRICES.spot(**POOL, at_ms=at_ms) == (None if per_hour is None else Decimal(per_hour))


@pytest.mark.parametrize(
    ("start_h", "end_h", "amount", "priced_h"),
    [(11, 13, "0.08", 2), (9, 11, "0.03", 1), (12, 14, "0.10", 2), (10, 10, "0", 0), (8, 9, "0", 0), (13, 12, "0", 0)],
)
def test_a_spot_instance_costs_at_every_moment_the_price_that_holds_then(
    start_h: int, end_h: int, amount: str, priced_h: int
) -> None:
    found = PRICES.spot_cost(**POOL, start_ms=start_h * HOUR_MS, end_ms=end_h * HOUR_MS)
    assert found == Priced(Decimal(amount), priced_h * HOUR_MS)


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3), st.lists(st.integers(0, 50), max_size=8))
def test_the_cost_of_a_stretch_is_that_of_its_parts(bounds: list[int], changes: list[int]) -> None:
    prices = Prices(
        "USD", spot=[SpotPrice(**POOL, at_ms=at, per_hour=Decimal(at + 1)) for at in dict.fromkeys(changes)]
    )
    start, middle, end = sorted(bounds)
    one, other = (
        prices.spot_cost(**POOL, start_ms=start, end_ms=middle),
        prices.spot_cost(**POOL, start_ms=middle, end_ms=end),
    )
    whole = prices.spot_cost(**POOL, start_ms=start, end_ms=end)
    assert whole.priced_ms == one.priced_ms + other.priced_ms
    assert abs(whole.amount - one.amount - other.amount) < Decimal("1e-20")


def test_what_is_not_in_the_file_has_no_price() -> None:
    other = TYPE | {"platform": "Windows"}
    assert PRICES.on_demand(**TYPE) == Decimal("0.091")
    assert PRICES.covered(**TYPE) == Decimal("0.057")
    assert PRICES.on_demand(**other) is None
    assert PRICES.covered(**other) is None
    elsewhere = POOL | {"zone": "eu-west-1c"}
    assert PRICES.spot(**elsewhere, at_ms=11 * HOUR_MS) is None
    assert PRICES.spot_cost(**elsewhere, start_ms=0, end_ms=HOUR_MS) == NOTHING_PRICED


def test_a_file_reads_back_as_it_was_written() -> None:
    hourly = [HourlyPrice(**TYPE, per_hour=Decimal("0.0910"))]
    text = write_prices("EUR", on_demand=hourly, spot=[FIRST, SECOND], covered=hourly)
    read = read_prices(text)
    assert (read.currency, read.on_demand(**TYPE), read.covered(**TYPE)) == (
        "EUR",
        Decimal("0.0910"),
        Decimal("0.0910"),
    )
    assert read.spot(**POOL, at_ms=SECOND.at_ms) == SECOND.per_hour
    assert read_prices(write_prices("USD")).on_demand(**TYPE) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b'"USD"', b'"usd"'), "currency is not a currency"),
        ((b'"version": 1', b'"version": 2'), "version is 2, and this release reads 1"),
        ((b'"covered": []', b'"reserved": []'), "missing or unknown fields: ['covered', 'reserved']"),
        ((b'"0.091"', b"0.091"), "on_demand[0].per_hour is not a string: 0.091"),
        ((b'"0.091"', b'"-0.091"'), "on_demand[0].per_hour is not a price"),
        ((b'"0.091"', b'"NaN"'), "on_demand[0].per_hour is not a price"),
        ((b"10:00:00Z", b"10 o'clock"), "spot[0].at is not a time in ISO 8601"),
        ((b'"eu-west-1b"', b'"EU"'), "spot[0].zone is not a zone"),
        ((b'"m7g.large"', b'"large"'), "on_demand[0].instance_type is not an instance type"),
        ((b"}", b""), "not JSON in UTF-8"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_the_place(change: tuple[bytes, bytes], reason: str) -> None:
    text = write_prices("USD", on_demand=[HourlyPrice(**TYPE, per_hour=Decimal("0.091"))], spot=[FIRST])
    assert change[0] in text
    with pytest.raises(PricesError) as caught:
        read_prices(text.replace(*change))
    assert reason in str(caught.value)
