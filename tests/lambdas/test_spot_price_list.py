"""On-Demand prices of the Price List API, kept for a day, and for longer while it is out of reach."""

from decimal import Decimal
from pathlib import Path

import pytest

from connectors.prices import HourlyPrice, Prices, read_prices
from lambdas.spot.describe import Describe
from lambdas.spot.price_list import FRESH_MS, OnDemandPrices
from tests.aws_answers import Answers, answering, product

REGION = "eu-west-1"
NOW_MS = 1_770_000_000_000
LINUX = HourlyPrice(REGION, "m5.large", "Linux/UNIX", Decimal("0.1070"))


def of(
    aws: Answers, prices: OnDemandPrices, *types: str, at_ms: int = NOW_MS
) -> tuple[list[HourlyPrice], tuple[str, ...]]:
    return prices.of(Describe(aws.clients).market, REGION, types or ("m5.large",), at_ms)


def test_prices_are_read_as_the_price_list_gives_them_page_by_page() -> None:
    with answering() as aws:
        aws.lists = {
            "GetProducts": [
                product("m5.large", "0.0000000000"),
                product("m5.large", "0.1070000000"),
                product("m5.large", "0.1990000000", "RunInstances:0002"),
                product("m5.large", "0.2000000000", "RunInstances:unheard"),
                product("m5.large", "0.1180000000", tenancy="Dedicated"),
                product("m5.large", "0.0900000000", capacitystatus="UnusedCapacityReservation"),
            ]
        }
        found, notes = of(aws, OnDemandPrices(Prices("USD")))
        assert notes == ()
        assert found == [LINUX, HourlyPrice(REGION, "m5.large", "Windows", Decimal("0.199"))]
        asked = {one["Field"]: (one["Type"], one["Value"]) for one in aws.asked[0][1]["Filters"]}
        assert asked["instanceType"] == ("ANY_OF", "m5.large")
        assert (asked["regionCode"], len(aws.asked)) == (("TERM_MATCH", REGION), 3)


def test_what_the_user_s_file_has_is_not_asked_for() -> None:
    with answering() as aws:
        assert of(aws, OnDemandPrices(Prices("USD", on_demand=[LINUX]))) == ([], ())
        assert of(aws, OnDemandPrices(Prices("EUR"))) == ([], ())  # prices of two currencies are not mixed
        assert aws.asked == []


@pytest.mark.parametrize(("age_ms", "calls"), [(FRESH_MS - 1_000, 1), (FRESH_MS, 2), (FRESH_MS + 1_000, 2)])
def test_an_answer_is_kept_for_a_day_in_a_file_that_is_a_price_file(tmp_path: Path, age_ms: int, calls: int) -> None:
    prices = OnDemandPrices(Prices("USD"), tmp_path / "kept" / "prices.json")
    with answering() as aws:
        aws.lists = {"GetProducts": [product("m5.large", "0.1070000000")]}
        assert of(aws, prices) == ([LINUX], ())
        assert of(aws, prices, at_ms=NOW_MS + age_ms) == ([LINUX], ())
        assert aws.count("GetProducts") == calls
    kept = read_prices((tmp_path / "kept" / "prices.json").read_bytes())
    assert kept.on_demand_of(REGION) == [LINUX]
    assert [one.name for one in (tmp_path / "kept").iterdir()] == ["prices.json"]


def test_a_type_that_is_not_kept_yet_is_asked_for_alone(tmp_path: Path) -> None:
    prices = OnDemandPrices(Prices("USD"), tmp_path / "prices.json")
    with answering() as aws:
        aws.lists = {"GetProducts": [product("m5.large", "0.1070000000")]}
        of(aws, prices)
        aws.lists = {"GetProducts": [product("c5.large", "0.0960000000")]}
        found, _ = of(aws, prices, "m5.large", "c5.large")
        assert {one.instance_type for one in found} == {"m5.large", "c5.large"}
        assert "c5.large" in str(aws.asked[-1])
        assert "m5.large" not in str(aws.asked[-1])


def test_out_of_reach_older_prices_are_used_and_told(tmp_path: Path) -> None:
    prices = OnDemandPrices(Prices("USD"), tmp_path / "prices.json")
    with answering() as aws:
        aws.lists = {"GetProducts": [product("m5.large", "0.1070000000")]}
        of(aws, prices)
        aws.refused = {"GetProducts": "AccessDeniedException"}
        found, (note,) = of(aws, prices, at_ms=NOW_MS + 30 * FRESH_MS)
        assert found == [LINUX]
        assert "the Price List is out of reach: GetProducts: AccessDeniedException" in note
        assert note.endswith("older prices are used")
        _, (note,) = of(aws, prices, "m5.large", "c5.large", at_ms=NOW_MS + 30 * FRESH_MS)
        assert note.endswith("without a price, which a price file can give: c5.large")


def test_what_is_kept_and_broken_counts_as_not_there_and_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text("{")
    (tmp_path / "file").write_text("")
    with answering() as aws:
        aws.lists = {"GetProducts": [product("m5.large", "0.1070000000")]}
        assert of(aws, OnDemandPrices(Prices("USD"), tmp_path / "prices.json")) == ([LINUX], ())
        found, (note,) = of(aws, OnDemandPrices(Prices("USD"), tmp_path / "file" / "prices.json"))
        assert found == [LINUX]
        assert "prices could not be kept in" in note
