"""What is swapped, for what, and what stays."""

import json
import pkgutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from connectors.prices import Prices
from connectors.spot_facts import DEFAULT_PLATFORM, Purchase
from jobs.cli import cli
from jobs.spot_command import ACTUATOR_COMMANDS
from lambdas.spot.commitments import Reservation
from lambdas.spot.cover import FreeCover, cover
from lambdas.spot.fleet import TYPE_TAG, Fleet, Instance, Market, Pool
from lambdas.spot.group_policy import GroupPolicy, PolicyError, read_policy
from lambdas.spot.plan import GroupPlan, Kept, PlanSettings, plan_fleet, plan_group
from lambdas.spot.replacement import plan_replacement
from lambdas.spot.schedule import parse_schedule
from lambdas.spot.swap import GroupJournal, LaunchOption, Phase, PlannedSwap, Purpose, open_swap
from tests.aws_answers import plan as savings_plan_answer
from tests.aws_answers import rate as rate_answer
from tests.spot_fleets import AT_MS, TEMPLATE, ZONE, fleet_of, instance

ROOT = Path(__file__).parent.parent.parent


def plan(fleet: Fleet, **settings: Any) -> GroupPlan:
    return plan_group(fleet, fleet.groups[0], GroupJournal("web"), PlanSettings(**settings))


def purposes(planned: GroupPlan) -> list[Purpose]:
    return [swap.purpose for swap in planned.swaps]


def test_the_cheapest_pool_that_is_at_least_as_large_and_of_the_same_architecture_is_taken() -> None:
    (swap,) = plan(fleet_of(instance(1))).swaps
    assert swap.options == (
        LaunchOption("m5a.large", Purchase.SPOT, Decimal("0.0300")),
        LaunchOption("m5.large", Purchase.SPOT, Decimal("0.0400")),
        LaunchOption("m5.xlarge", Purchase.SPOT, Decimal("0.0900")),
    )
    assert swap.saving_per_hour == Decimal("0.0700")


@pytest.mark.parametrize(("minimum", "swaps"), [(0, 2), (1, 1), (2, 0), (3, 0)])
def test_the_minimum_of_on_demand_instances_stays(minimum: int, swaps: int) -> None:
    fleet = fleet_of(instance(1), instance(2), tags={"MinOnDemand": str(minimum), "Parallel": "5"})
    assert len(plan(fleet).swaps) == swaps


@pytest.mark.parametrize(("percent", "least"), [(0, 0), (1, 1), (33, 1), (34, 2), (67, 3), (100, 3)])
def test_a_minimum_in_percent_is_rounded_up(percent: int, least: int) -> None:
    assert GroupPolicy(min_on_demand_percent=percent).least_on_demand(3) == least


def test_fewer_on_demand_instances_than_the_minimum_turn_spot_back() -> None:
    fleet = fleet_of(instance(1, Purchase.SPOT), instance(2, Purchase.SPOT), tags={"MinOnDemand": "1", "Parallel": "5"})
    (swap,) = plan(fleet).swaps
    assert (swap.purpose, swap.options[0].purchase) == (Purpose.TO_ON_DEMAND, Purchase.ON_DEMAND)


@pytest.mark.parametrize(
    ("market", "wanted"),
    [
        (Market.ARMED, []),
        (Market.SUSPECT, []),
        (Market.FALLBACK, [Purpose.TO_ON_DEMAND]),
        (Market.PINNED, [Purpose.TO_ON_DEMAND]),
    ],
)
def test_spot_in_a_lost_market_falls_back(market: Market, wanted: list[Purpose]) -> None:
    fleet = fleet_of(instance(1, Purchase.SPOT), markets={Pool("m5.large", ZONE): market})
    assert purposes(plan(fleet)) == wanted


@pytest.mark.parametrize("market", [Market.SUSPECT, Market.FALLBACK, Market.PINNED])
def test_no_new_spot_goes_where_the_market_is_not_armed(market: Market) -> None:
    (swap,) = plan(fleet_of(instance(1), markets={Pool("m5a.large", ZONE): market})).swaps
    assert [option.instance_type for option in swap.options] == ["m5.large", "m5.xlarge"]


def larger_spot(number: int) -> Instance:
    """What a swap has put in the place of an m5.large, because it cost less on Spot."""
    return instance(number, Purchase.SPOT, instance_type="m5.xlarge", tags={TYPE_TAG: "m5.large"})


def test_back_on_demand_an_instance_is_of_the_type_that_the_group_had_in_its_place() -> None:
    (swap,) = plan(fleet_of(larger_spot(1), tags={"MinOnDemand": "1"})).swaps
    assert swap.options == (LaunchOption("m5.large", Purchase.ON_DEMAND, Decimal("0.1000")),)


def test_a_replacement_need_be_no_larger_than_what_the_group_had() -> None:
    fleet = fleet_of(larger_spot(1))
    planned = plan_replacement(
        fleet, fleet.groups[0], fleet.instances["i-00000001"], GroupJournal("web"), PlanSettings()
    )
    assert isinstance(planned, PlannedSwap)
    assert [(one.instance_type, one.purchase) for one in planned.options] == [
        ("m5a.large", Purchase.SPOT),
        ("m5.large", Purchase.ON_DEMAND),
    ]


def test_what_fell_back_stays_until_its_market_is_armed() -> None:
    fell_back = instance(1, tags={"headroom:swap": "x"})
    lost = fleet_of(fell_back, markets={Pool("m5.large", ZONE): Market.FALLBACK})
    assert purposes(plan(lost)) == []
    assert purposes(plan(replace(lost, markets={}))) == [Purpose.TO_SPOT]


@pytest.mark.parametrize(("percent", "in_pool"), [(25, 1), (50, 2), (75, 3)])
def test_a_pool_has_no_more_of_a_group_than_may_be_lost_at_once(percent: int, in_pool: int) -> None:
    tags = {"AllowedTypes": "current", "MaxPoolPercent": str(percent), "Parallel": "9"}
    assert len(plan(fleet_of(*map(instance, range(1, 5)), tags=tags)).swaps) == in_pool


@pytest.mark.parametrize(
    ("tags", "types"),
    [
        ({"AllowedTypes": "current"}, ["m5.large"]),
        ({"AllowedTypes": "m5a.* m5.x*"}, ["m5a.large", "m5.xlarge"]),
        ({"RefusedTypes": "m5a.*"}, ["m5.large", "m5.xlarge"]),
        ({"MaxPricePercent": "39"}, ["m5a.large"]),
        ({"MaxPricePercent": "40"}, ["m5a.large", "m5.large"]),
    ],
)
def test_tags_say_which_types_may_be_used(tags: dict[str, str], types: list[str]) -> None:
    (swap,) = plan(fleet_of(instance(1), tags=tags)).swaps
    assert [option.instance_type for option in swap.options] == types


@pytest.mark.parametrize(("price", "swaps"), [("0.0999", 0), ("0.0990", 1), ("0.1000", 0)])
def test_spot_must_cost_less(price: str, swaps: int) -> None:
    assert len(plan(fleet_of(instance(1), spot={"m5.large": price})).swaps) == swaps


def test_without_a_price_nothing_is_swapped_and_the_reason_says_so() -> None:
    planned = plan(replace(fleet_of(instance(1)), prices=Prices("USD")))
    assert planned.kept == (Kept("i-00000001", "the On-Demand price of m5.large is not known"),)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"template": None}, "launch configuration"),
        ({"suspended": frozenset({"Launch"})}, "processes are suspended"),
        ({"on_demand_percentage": 50}, "mixed instances policy"),
        ({"weighted": True}, "by weight"),
        ({"deleting": True}, "being deleted"),
        ({"desired": 2}, "only 1 of 2 serve"),
        ({"stack": "prod", "changing_stacks": frozenset({"prod"})}, "its stack prod"),
    ],
)
def test_a_group_is_left_alone(more: dict[str, Any], reason: str) -> None:
    planned = plan(fleet_of(instance(1), **more))
    assert planned.swaps == ()
    assert reason in (planned.refusal or "")


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"MinOnDemand": "-1"}, "AsgOptimiser:MinOnDemand is '-1'"),
        ({"MinOnDemandPercent": "101"}, "0 to 100"),
        ({"Schedule": "sometimes"}, "AsgOptimiser:Schedule: 'sometimes'"),
        ({"Schedule": "Mon", "TimeZone": "Mars/Base"}, "no time zone"),
        ({"MinOndemand": "1"}, "is no setting"),
        ({"AllowedTypes": " "}, "is empty"),
    ],
)
def test_a_tag_that_cannot_be_read_leaves_the_group_alone_and_is_named(tags: dict[str, str], reason: str) -> None:
    planned = plan(fleet_of(instance(1), tags=tags))
    assert planned.swaps == ()
    assert reason in (planned.refusal or "")


def test_a_tag_that_says_off_or_nothing_sensible_leaves_the_group_alone() -> None:
    assert not read_policy({"AsgOptimiser": "off"}).enabled
    assert not read_policy({}).enabled
    with pytest.raises(PolicyError):
        read_policy({"AsgOptimiser": "perhaps"})


@pytest.mark.parametrize(
    ("text", "zone", "hour", "is_open"),
    [
        ("Mon-Fri", "UTC", 0, True),
        ("Tue-Sun", "UTC", 0, False),
        ("Mon 02:00-03:00", "UTC", 0, True),
        ("Mon 02:41-03:00", "UTC", 0, False),
        ("Mon 02:00-02:40", "UTC", 0, False),
        ("Sun 22:00-06:00", "UTC", 0, True),
        ("Mon 22:00-06:00", "UTC", 0, False),
        ("Sun", "America/New_York", 0, True),
        ("Sat; Mon", "UTC", 0, True),
        ("Fri-Mon", "UTC", 0, True),
        ("Mon 03:00-04:00", "Europe/Berlin", 0, True),
    ],
)
def test_a_schedule_is_in_the_group_s_own_time_zone(text: str, zone: str, hour: int, is_open: bool) -> None:
    assert parse_schedule(text, zone).is_open(AT_MS + hour * 3_600_000) is is_open


def test_protected_instances_stay() -> None:
    fleet = fleet_of(instance(1))
    (member,) = fleet.groups[0].members
    group = replace(fleet.groups[0], members=(replace(member, protected_from_scale_in=True),))
    assert plan(replace(fleet, groups=(group,))).kept == (Kept("i-00000001", "it is protected from scale-in"),)


def test_what_is_paid_for_already_stays_on_demand_and_free_cover_takes_spot_back() -> None:
    covered = plan(fleet_of(instance(1)), covered={"i-00000001": "Reserved Instances"})
    assert covered.kept == (Kept("i-00000001", "covered by Reserved Instances"),)
    (back,) = plan(fleet_of(instance(1, Purchase.SPOT)), free=free_for(1)).swaps
    assert (back.purpose, back.saving_per_hour) == (Purpose.TO_ON_DEMAND, Decimal("0.0400"))  # it is paid for


def free_for(count: int) -> FreeCover:
    return cover([Reservation("m5.large", DEFAULT_PLATFORM, None, count)], [], [], lambda *_: None).free


@pytest.mark.parametrize(("count", "back"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)])
def test_as_many_spot_instances_come_back_as_free_cover_pays_for(count: int, back: int) -> None:
    spots = [instance(number, Purchase.SPOT) for number in range(1, 4)]
    assert len(plan(fleet_of(*spots, tags={"Parallel": "9"}), free=free_for(count)).swaps) == back


def test_free_cover_that_is_on_its_way_to_be_used_is_not_given_away_twice() -> None:
    fleet = fleet_of(instance(1, Purchase.SPOT), instance(2, Purchase.SPOT), tags={"Parallel": "2"})
    settings = PlanSettings(free=free_for(1))
    (first,) = plan_fleet(fleet, {}, settings)[0].swaps
    journal = GroupJournal("web", swaps=(open_swap(first, AT_MS),))
    assert plan_fleet(fleet, {"web": journal}, settings)[0].swaps == ()


@pytest.mark.parametrize("serving", [{1}, {1, 2}, {2}])
@pytest.mark.parametrize(
    ("original", "twin", "least"), [(Purchase.SPOT, Purchase.ON_DEMAND, 2), (Purchase.ON_DEMAND, Purchase.SPOT, 1)]
)
def test_a_swap_under_way_counts_once_whichever_of_both_serves(
    original: Purchase, twin: Purchase, least: int, serving: set[int]
) -> None:
    """Once it is over there are as many On-Demand Instances as must be, so nothing else is to be swapped."""
    assert plan_beside_swap(original, twin, Phase.WARMING, serving, least).swaps == ()


@pytest.mark.parametrize(
    ("original", "twin", "least"), [(Purchase.SPOT, Purchase.ON_DEMAND, 1), (Purchase.ON_DEMAND, Purchase.SPOT, 2)]
)
@pytest.mark.parametrize("serving", [{1}, {1, 2}])
def test_a_swap_that_is_undone_counts_as_though_it_had_never_been(
    original: Purchase, twin: Purchase, least: int, serving: set[int]
) -> None:
    assert plan_beside_swap(original, twin, Phase.UNDOING, serving, least).swaps == ()


def test_a_twin_is_not_swapped_before_its_own_swap_is_over() -> None:
    planned = plan_beside_swap(Purchase.SPOT, Purchase.ON_DEMAND, Phase.DRAINING, {2}, least=0)
    assert [swap.original_id for swap in planned.swaps] == ["i-00000003"]
    assert Kept("i-00000002", "it is taking the place of i-00000001") in planned.kept


def plan_beside_swap(original: Purchase, twin: Purchase, phase: Phase, serving: set[int], least: int) -> GroupPlan:
    """The plan of a group with instance 1, its twin 2, of which some serve, an On-Demand and a Spot Instance."""
    instances = [instance(1, original), instance(2, twin), instance(3), instance(4, Purchase.SPOT)]
    fleet = fleet_of(*instances, tags={"MinOnDemand": str(least), "MaxPoolPercent": "100", "Parallel": "9"}, desired=3)
    group = fleet.groups[0]
    members = tuple(one for place, one in enumerate(group.members, 1) if place > 2 or place in serving)
    template, options = TEMPLATE, (LaunchOption("m5.large", twin, None),)
    planned = PlannedSwap(
        "web", "i-00000001", "m5.large", original, Purpose.REPLACE, template, "subnet-1", ZONE, options, None, ""
    )
    begun = replace(open_swap(planned, AT_MS), twin_id="i-00000002", phase=phase)
    return plan_group(fleet, replace(group, members=members), GroupJournal("web", swaps=(begun,)), PlanSettings())


def test_free_cover_is_shared_by_all_groups() -> None:
    fleet = fleet_of(instance(1, Purchase.SPOT))
    other = replace(fleet.groups[0], name="other")
    plans = plan_fleet(replace(fleet, groups=(*fleet.groups, other)), {}, PlanSettings(free=free_for(1)))
    assert [len(one.swaps) for one in plans] == [1, 0]


def test_a_roll_out_replaces_instances_of_another_image_as_what_they_are_n_at_a_time() -> None:
    instances = [instance(number, Purchase.SPOT, image_id="ami-0") for number in range(1, 4)]
    fleet = fleet_of(*instances, tags={"RollOut": "on", "Parallel": "2"}, images={TEMPLATE: "ami-1"})
    planned = plan(fleet)
    assert purposes(planned) == [Purpose.ROLL_OUT, Purpose.ROLL_OUT]
    assert {swap.options[0].purchase for swap in planned.swaps} == {Purchase.SPOT}


def test_a_replacement_is_other_spot_capacity_and_else_on_demand() -> None:
    lost = instance(1, Purchase.SPOT, instance_type="m5a.large")
    fleet = fleet_of(lost)
    planned = plan_replacement(fleet, fleet.groups[0], lost, GroupJournal("web"), PlanSettings())
    assert isinstance(planned, PlannedSwap)
    assert [(one.instance_type, one.purchase) for one in planned.options] == [
        ("m5.large", Purchase.SPOT),
        ("m5a.large", Purchase.ON_DEMAND),
    ]


def headroom(*arguments: str, width: int | None = None) -> tuple[int, str]:
    """Exit status and output, for a terminal of some width or for none; workers of xdist have a width by themselves."""
    columns = None if width is None else str(width)
    result = CliRunner(env={"COLUMNS": columns}).invoke(cli, ["spot", *arguments])
    return result.exit_code, result.output


EXAMPLE = (
    "--snapshot",
    str(ROOT / "examples" / "spot-fleet.json"),
    "--prices",
    str(ROOT / "examples/spot-prices.json"),
)


def test_the_plan_reads_as_a_diff_with_reason_price_and_saving() -> None:
    exit_code, output = headroom("plan", *EXAMPLE)
    assert exit_code == 0
    assert "- i-00000000000000001  m7g.large      on-demand      0.0909  3 are On-Demand, 1 must be" in output
    assert "saves 0.0572 USD an hour, 41.76 a month" in output
    assert "Capacity Rebalancing is on" in output
    assert "4 to swap in 3 of 5 groups; 2 left alone" in output


def test_the_plan_of_a_snapshot_says_what_covers_an_instance_and_what_of_a_commitment_is_free(tmp_path: Path) -> None:
    fleet = json.loads((ROOT / "examples" / "spot-fleet.json").read_text(encoding="utf-8"))
    fleet["ReservedInstances"] = [
        {"InstanceType": "m7g.large", "InstanceCount": 1, "Scope": "Region", "ProductDescription": "Linux/UNIX"}
    ]
    fleet["savingsPlans"] = [savings_plan_answer("sp-1", "0.5")]
    rates = [rate_answer("m7g.xlarge", "0.12")]
    fleet["savingsPlanRates"] = [{"savingsPlanId": "sp-1", "searchResults": rates}]
    (tmp_path / "fleet.json").write_text(json.dumps(fleet), encoding="utf-8")
    exit_code, output = headroom("plan", "--snapshot", str(tmp_path / "fleet.json"), *EXAMPLE[2:])
    assert exit_code == 0
    assert "= i-00000000000000001  covered by Reserved Instances of the family m7g in the Region" in output
    assert "= i-0000000000000000b  covered by Compute Savings Plan sp-1" in output
    assert "Compute Savings Plan sp-1: 0.5 USD an hour paid for, 0.36 used, 0.14 free" in output
    _, half = headroom("plan", "--snapshot", str(tmp_path / "fleet.json"), *EXAMPLE[2:], "--compute-plan-percent", "20")
    assert "Compute Savings Plan sp-1: 0.1 USD an hour paid for, 0.1 used, 0 free" in half
    assert "covered by Compute Savings Plan" not in half


def test_the_plan_as_json_says_the_same() -> None:
    exit_code, output = headroom("plan", *EXAMPLE, "--json")
    told = json.loads(output)
    assert (exit_code, told["swaps"], told["saving_per_hour"], told["currency"]) == (0, 4, "0.0276", "USD")


@pytest.mark.parametrize("width", [80, 120])
def test_the_plan_fits_its_terminal_and_loses_no_word(width: int) -> None:
    _, unwrapped = headroom("plan", *EXAMPLE)
    _, output = headroom("plan", *EXAMPLE, width=width)
    assert max(map(len, output.splitlines())) <= width
    assert output.split() == unwrapped.split()


def test_prices_in_a_currency_that_ec2_does_not_tell_are_refused(tmp_path: Path) -> None:
    prices = (ROOT / "examples" / "spot-prices.json").read_text(encoding="utf-8").replace('"USD"', '"EUR"')
    (tmp_path / "prices.json").write_text(prices, encoding="utf-8")
    exit_code, output = headroom("plan", *EXAMPLE[:2], "--prices", str(tmp_path / "prices.json"))
    assert exit_code == 2
    assert "currency is EUR; EC2 tells Spot prices in USD" in output


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("plan", "--snapshot", "nowhere.json"), "nowhere.json: No such file"),
        (("plan", "--snapshot", str(ROOT / "README.md")), "it is not JSON"),
        (("plan", "--snapshot", str(ROOT / "examples" / "spot-prices.json")), "it lacks account"),
        (("plan", *EXAMPLE, "--group", "nope"), "there is no group nope"),
        (("plan", *EXAMPLE[:2], "--prices", str(ROOT / "README.md")), "not JSON"),
        (("apply",), "--table names no journal"),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple[str, ...], problem: str) -> None:
    exit_code, output = headroom(*arguments)
    assert exit_code == 2
    assert problem in output


@pytest.mark.parametrize("name", ACTUATOR_COMMANDS)
def test_the_commands_of_the_actuators_are_found_by_their_names(name: str) -> None:
    command = pkgutil.resolve_name(ACTUATOR_COMMANDS[name])
    assert isinstance(command, click.Command)
    assert command.name == name


def test_a_swap_that_is_not_launched_yet_may_come_to_be_of_any_pool_that_is_left_to_it() -> None:
    tags = {"MaxPoolPercent": "50", "Parallel": "2"}
    fleet = fleet_of(*(instance(number) for number in (1, 2)), tags=tags)
    (group,) = fleet.groups
    (first,) = plan_group(fleet, group, GroupJournal("web"), PlanSettings(), only=instance(1).instance_id).swaps
    assert [option.instance_type for option in first.options] == ["m5a.large", "m5.large", "m5.xlarge"]
    under_way = replace(open_swap(first, AT_MS), options=first.options[:2])
    (second,) = plan_group(fleet, group, GroupJournal("web", swaps=(under_way,)), PlanSettings()).swaps
    assert [option.instance_type for option in second.options] == ["m5.xlarge"]
