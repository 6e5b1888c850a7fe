"""What hours cost and would have cost, added up by hand."""

import json
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from connectors.prices import HOUR_MS, HourlyPrice, Prices, SpotPrice, read_prices
from connectors.recordings.files import find_recordings
from connectors.spot_facts import DEFAULT_PLATFORM, Purchase
from jobs.spot.lives import Life, LifeBook, Lives, Run
from jobs.spot.recorded import read_recorded
from jobs.spot.savings import REPLACED_WITHIN_MS, Interruption, Savings, savings
from jobs.spot.savings_page import savings_page
from jobs.spot.savings_text import NO_GROUP, show_savings, to_json
from tests.spot_prices import PRICES as PRICES_FILE
from tests.spot_stream import RECORDING

SPOT, ON_DEMAND, COVERED = Purchase.SPOT, Purchase.ON_DEMAND, Purchase.COVERED
TYPE = {"region": "eu-west-1", "instance_type": "m7g.large", "platform": DEFAULT_PLATFORM}
PRICES = Prices(
    "USD",
    on_demand=[HourlyPrice(**TYPE, per_hour=Decimal("0.10"))],
    spot=[SpotPrice("eu-west-1b", "m7g.large", DEFAULT_PLATFORM, at_ms=0, per_hour=Decimal("0.03"))],
    covered=[HourlyPrice(**TYPE, per_hour=Decimal("0.06"))],
)


def life(number: int, start_h: float, end_h: float, purchase: Purchase = SPOT, **about: Any) -> Life:
    start_ms, end_ms = int(start_h * HOUR_MS), int(end_h * HOUR_MS)
    ran = Life(
        account="604418233907",
        region="eu-west-1",
        instance_id=f"i-{number:017x}",
        instance_type="m7g.large",
        stands_for="m7g.large",
        zone="eu-west-1b",
        platform=DEFAULT_PLATFORM,
        group="inbox-workers",
        runs=(Run(start_ms, end_ms, purchase),) if start_ms < end_ms else (),
        launched_at_ms=start_ms,
        ended_at_ms=None,
        warned_at_ms=None,
    )
    return replace(ran, **about)


def interrupted(number: int, start_h: float, warned_h: float, end_h: float, **about: Any) -> Life:
    warned_at_ms, ended_at_ms = int(warned_h * HOUR_MS), int(end_h * HOUR_MS)
    return life(number, start_h, end_h, warned_at_ms=warned_at_ms, ended_at_ms=ended_at_ms, **about)


def told(*lives: Life, prices: Prices = PRICES, end_h: int = 10) -> Savings:
    return savings(Lives(lives, 0, end_h * HOUR_MS, unknown=0), prices)


def usd(amount: str) -> Decimal:
    return Decimal(amount)


def test_each_way_of_paying_has_its_price_and_all_are_compared_with_on_demand() -> None:
    total = told(life(1, 0, 10), life(2, 0, 5, ON_DEMAND), life(3, 2, 4, COVERED)).total
    assert total.hours_ms == {SPOT: 10 * HOUR_MS, ON_DEMAND: 5 * HOUR_MS, COVERED: 2 * HOUR_MS}
    assert total.cost == {SPOT: usd("0.30"), ON_DEMAND: usd("0.50"), COVERED: usd("0.12")}
    assert (total.total_cost, total.on_demand, total.saved) == (usd("0.92"), usd("1.70"), usd("0.78"))
    assert (total.unpriced_ms, total.interruption_cost) == (0, usd("0"))


def test_an_instance_that_is_larger_than_its_group_had_is_compared_with_the_type_that_it_stands_for() -> None:
    spot = SpotPrice("eu-west-1b", "m7g.xlarge", DEFAULT_PLATFORM, at_ms=0, per_hour=Decimal("0.05"))
    larger = HourlyPrice("eu-west-1", "m7g.xlarge", DEFAULT_PLATFORM, Decimal("0.20"))
    smaller = HourlyPrice(**TYPE, per_hour=Decimal("0.10"))
    xlarge = life(1, 0, 10, instance_type="m7g.xlarge")
    total = told(xlarge, prices=Prices("USD", on_demand=[smaller, larger], spot=[spot])).total
    assert (total.total_cost, total.on_demand) == (usd("0.50"), usd("1.00"))


def test_groups_add_up_to_the_total_and_what_is_in_none_comes_last() -> None:
    found = told(life(1, 0, 1, group="b"), life(2, 0, 2, group=None), life(3, 0, 3, group="a"))
    assert list(found.groups) == ["a", "b", None]
    assert sum(sums.total_cost for sums in found.groups.values()) == found.total.total_cost == usd("0.18")


@pytest.mark.parametrize(
    "unpriced",
    [life(1, 0, 2, platform="Windows"), life(1, 0, 2, zone="eu-west-1c"), life(1, 0, 2, ON_DEMAND, platform="Windows")],
    ids=["no price at all", "no Spot price", "no On-Demand price"],
)
def test_hours_without_a_price_are_told_and_count_nowhere_else(unpriced: Life) -> None:
    total = told(unpriced, life(2, 0, 1)).total
    assert total.unpriced_ms == 2 * HOUR_MS
    assert (total.total_cost, total.on_demand) == (usd("0.03"), usd("0.10"))


def only(found: Savings) -> Interruption:
    [interruption] = found.total.interruptions
    return interruption


def test_an_interruption_costs_the_hours_side_by_side_and_on_demand_would_not_have_had_them() -> None:
    found = told(interrupted(1, 0, 4.5, 5), life(2, 4.75, 10))
    assert (only(found).gap_ms, only(found).side_by_side) == (0, usd("0.0075"))
    assert found.total.interruption_cost == usd("0.0075")
    assert found.total.total_cost == usd("0.15") + usd("0.1575")
    assert found.total.on_demand == usd("1.00")


def test_an_on_demand_replacement_costs_what_it_is_dearer_than_the_lost_spot_hours() -> None:
    found = told(interrupted(1, 0, 4.9, 5), life(2, 5.25, 9.25, ON_DEMAND))
    assert (only(found).gap_ms, only(found).side_by_side) == (HOUR_MS // 4, usd("0"))
    assert only(found).on_demand_extra == usd("0.28")
    assert found.total.interruption_cost == usd("0.28")


@pytest.mark.parametrize(
    ("platform", "end_h", "free"),
    [
        (DEFAULT_PLATFORM, 0.5, True),
        (DEFAULT_PLATFORM, 1 - 1 / HOUR_MS, True),
        (DEFAULT_PLATFORM, 1.0, False),
        (DEFAULT_PLATFORM, 1.5, False),
        ("Red Hat Enterprise Linux", 0.5, False),
        ("SUSE Linux", 0.5, False),
    ],
)
def test_what_ec2_interrupts_in_its_first_hour_is_free(platform: str, end_h: float, free: bool) -> None:
    on_demand = HourlyPrice(**TYPE | {"platform": platform}, per_hour=Decimal("0.10"))
    spot = SpotPrice("eu-west-1b", "m7g.large", platform, at_ms=0, per_hour=Decimal("0.03"))
    prices = Prices("USD", on_demand=[on_demand], spot=[spot])
    found = told(interrupted(1, 0, end_h / 2, end_h, platform=platform), prices=prices)
    assert (found.total.total_cost == 0) is free
    assert (only(found).not_charged > 0) is free
    assert only(found).cost == -only(found).not_charged


@pytest.mark.parametrize(
    ("after_ms", "replaces"),
    [(-1, False), (0, True), (1, True), (REPLACED_WITHIN_MS, True), (REPLACED_WITHIN_MS + 1, False)],
)
def test_a_replacement_is_launched_within_half_an_hour_of_the_warning(after_ms: int, replaces: bool) -> None:
    lost = interrupted(1, 0, 5, 5.05)
    other = life(2, 5, 10, launched_at_ms=5 * HOUR_MS + after_ms)
    assert (only(told(lost, other)).replacement is not None) is replaces


def test_each_launch_of_the_same_group_replaces_one_instance() -> None:
    lost = [interrupted(number, 0, 5 + number / 60, 5.5) for number in (1, 2, 3)]
    launched = [life(number, 5.2 + number / 600, 10) for number in (4, 5)]
    foreign = life(9, 5.1, 10, group="api-edge")
    replacements = [each.replacement for each in told(*lost, *launched, foreign).total.interruptions]
    assert replacements == [*launched, None]


def test_the_buckets_hold_all_hours_and_amounts() -> None:
    found = told(life(1, 0, 10), life(2, 0.5, 5.25, ON_DEMAND))
    assert len(found.buckets) == 10
    for purchase in Purchase:
        assert sum(bucket.hours_ms[purchase] for bucket in found.buckets) == found.total.hours_ms[purchase]
    assert sum(bucket.cost for bucket in found.buckets) == found.total.total_cost
    assert sum(bucket.on_demand for bucket in found.buckets) == found.total.on_demand


@pytest.mark.parametrize(("hours", "most"), [(96, 96), (97, 17), (24 * 96, 96), (24 * 365 * 30, 40)])
def test_a_long_report_has_few_buckets(hours: int, most: int) -> None:
    assert 1 <= len(told(life(1, 0, 1), end_h=hours).buckets) <= most


@pytest.fixture(scope="module")
def shipped() -> Savings:
    book = LifeBook()
    for file in find_recordings([RECORDING]):
        for chunk in read_recorded(file):
            for outcome in chunk.told:
                book.add(outcome)
    return savings(book.lives(), read_prices(PRICES_FILE.read_bytes()))


def test_the_shipped_day_saves_and_its_interruptions_cost(shipped: Savings) -> None:
    total = shipped.total
    assert total.saved > 0
    assert total.interruption_cost > 0
    assert total.unpriced_ms == 0
    assert len(total.interruptions) > 10
    assert {each.replacement is None for each in total.interruptions} == {False}
    length_ms = shipped.end_ms - shipped.start_ms
    # 28 places, filled nearly always.
    assert 27 < sum(total.hours_ms.values()) / length_ms < 28.5


def test_json_says_what_the_report_does(shipped: Savings) -> None:
    document = json.loads(to_json(shipped))
    assert Decimal(document["total"]["saved"]) == shipped.total.saved.quantize(Decimal("0.0001"))
    assert [group["group"] for group in document["groups"]] == list(shipped.groups)
    assert len(document["interruptions"]) == document["total"]["interruptions"]
    assert document["currency"] == "USD"


def test_the_table_has_a_row_for_each_group_and_for_all(shipped: Savings) -> None:
    console = Console(file=StringIO(), width=80)
    show_savings(shipped, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined] # a StringIO
    for name in [*shipped.groups, "All", "14 interruptions cost"]:
        assert str(name) in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown


def test_a_report_of_nothing_is_a_report() -> None:
    nothing = told(end_h=0)
    console = Console(file=StringIO(), width=80)
    show_savings(nothing, console)
    assert "No instance ran that a scan saw." in savings_page(nothing)
    assert json.loads(to_json(nothing))["total"]["saved_percent"] is None


def test_the_page_needs_nothing_else_and_escapes_names(shipped: Savings) -> None:
    page = savings_page(told(life(1, 0, 10, group="<script>alert(1)</script>"), life(2, 0, 1, group=None)))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert NO_GROUP in page
    for outside in ("http:", "https:", "src=", "url(", "@import"):
        assert outside not in savings_page(shipped)


def test_the_shipped_files_are_what_their_commands_write() -> None:
    import gzip

    from tests.spot_prices import text
    from tests.spot_stream import Fleet, lines

    assert gzip.decompress(Path(RECORDING).read_bytes()) == b"".join(lines(Fleet().day()))
    assert PRICES_FILE.read_bytes() == text()
