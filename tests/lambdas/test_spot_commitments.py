"""What Reserved Instances and Savings Plans pay for."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.prices import Prices, read_prices
from connectors.spot_facts import DEFAULT_PLATFORM, Purchase
from lambdas.spot import commitment_scan
from lambdas.spot.commitment_scan import CommitmentScan
from lambdas.spot.commitments import PlanKind, Reservation, SavingsPlan
from lambdas.spot.cover import Cover, cover
from lambdas.spot.describe import Describe
from lambdas.spot.fleet import Instance
from lambdas.spot.instance_size import is_size_flexible, normalization_factor
from tests.aws_answers import Answers, answering
from tests.aws_answers import plan as plan_answer
from tests.aws_answers import rate as rate_answer
from tests.spot_fleets import ZONE, instance

PRICES = {"m5.large": "0.10", "m5.xlarge": "0.20", "c5.large": "0.08", "r5.large": "0.12"}


def reserved(count: int, zone: str | None = None, instance_type: str = "m5.large", **more: str) -> Reservation:
    return Reservation(instance_type, more.pop("platform", DEFAULT_PLATFORM), zone, count, **more)


def on_demand(number: int, instance_type: str = "m5.large", platform: str = DEFAULT_PLATFORM, **more: Any) -> Instance:
    return instance(number, instance_type=instance_type, platform=platform, **more)


def spot(instance_type: str = "m5.large") -> Instance:
    return instance(99, Purchase.SPOT, instance_type=instance_type)


def savings_plan(per_hour: str, kind: PlanKind = PlanKind.COMPUTE, plan_id: str = "sp-1", **rates: Any) -> SavingsPlan:
    family = "m5" if kind is PlanKind.EC2_INSTANCE else None
    named = {(name.replace("_", "."), DEFAULT_PLATFORM): Decimal(rate) for name, rate in rates.items()}
    return SavingsPlan(plan_id, kind, Decimal(per_hour), family, "eu-west-1" if family else None, named)


def price(instance_type: str, _platform: str) -> Decimal | None:
    return Decimal(PRICES[instance_type]) if instance_type in PRICES else None


def covered(reservations: list[Reservation], running: list[Instance], plans: list[SavingsPlan] | None = None) -> Cover:
    return cover(reservations, plans or [], running, price)


def numbers(found: Cover) -> list[int]:
    return sorted(int(name.removeprefix("i-"), 16) for name in found.covered)


@pytest.mark.parametrize(
    ("instance_type", "factor"),
    [
        ("t3.nano", Fraction(1, 4)),
        ("t3.micro", Fraction(1, 2)),
        ("t3.small", 1),
        ("t3.medium", 2),
        ("m5.large", 4),
        ("m5.xlarge", 8),
        ("m5.2xlarge", 16),
        ("z1d.3xlarge", 24),
        ("c5.9xlarge", 72),
        ("c5.18xlarge", 144),
        ("m5.24xlarge", 192),
        ("c7a.metal-48xl", 384),
        ("m5.metal", None),
        ("m5.huge", None),
    ],
)
def test_a_size_has_the_normalization_factor_of_aws(instance_type: str, factor: Fraction | None) -> None:
    assert normalization_factor(instance_type) == factor


@pytest.mark.parametrize(
    ("instance_type", "flexible"),
    [("m5.large", True), ("t4g.nano", True), ("i4i.large", True), ("x2gd.large", True), ("m5.metal", False),
     ("g4dn.xlarge", False), ("g5g.xlarge", False), ("inf1.xlarge", False), ("p4d.24xlarge", False),
     ("u-6tb1.56xlarge", False), ("hpc7a.12xlarge", False), ("gr6.4xlarge", False)],
)  # fmt: skip
def test_reservations_of_accelerated_families_and_of_metal_hold_for_one_size(
    instance_type: str, flexible: bool
) -> None:
    assert is_size_flexible(instance_type) is flexible


@pytest.mark.parametrize(("count", "oldest", "is_free"), [(0, [], False), (1, [1], False), (2, [1, 2], False),
                                                          (3, [1, 2], True)])  # fmt: skip
def test_reservations_cover_as_many_as_they_have_the_oldest_first_and_the_rest_is_free(
    count: int, oldest: list[int], is_free: bool
) -> None:
    found = covered([reserved(count)], [on_demand(2), on_demand(1), spot()])
    assert numbers(found) == oldest
    assert (found.free.covers(spot()) is not None) is is_free


@pytest.mark.parametrize(("larges", "xlarges", "expected"), [(1, 0, [2]), (1, 1, [1, 2]), (2, 0, [2]), (3, 0, [1, 2]),
                                                             (0, 1, [2]), (0, 2, [1, 2])])  # fmt: skip
def test_regional_linux_reservations_cover_other_sizes_of_the_family_the_smallest_first(
    larges: int, xlarges: int, expected: list[int]
) -> None:
    reservations = [reserved(larges), reserved(xlarges, instance_type="m5.xlarge")]
    assert numbers(covered(reservations, [on_demand(1, "m5.xlarge"), on_demand(2)])) == expected


@pytest.mark.parametrize(("count", "free"), [(1, None), (2, "m5"), (3, "m5")])
def test_what_covers_an_instance_only_in_part_is_no_cover_and_not_free(count: int, free: str | None) -> None:
    found = covered([reserved(count)], [])
    told = found.free.covers(spot("m5.xlarge"))
    assert told == (free and "Reserved Instances of the family m5 in the Region")
    half = covered([reserved(1)], [on_demand(1, "m5.xlarge")])
    assert (half.covered, half.free.covers(spot())) == ({}, None)
    assert half.told == (
        "Reserved Instances of the family m5 in the Region: 4 normalized units paid for, 4 used, 0 free",
    )


@pytest.mark.parametrize(
    "reservation",
    [
        reserved(9, ZONE),
        reserved(9, platform="Windows"),
        reserved(9, platform="Red Hat Enterprise Linux"),
        reserved(9, tenancy="dedicated"),
        reserved(9, instance_type="m5.metal"),
    ],
)
def test_zonal_reservations_other_platforms_dedicated_tenancy_and_metal_cover_their_own_size_alone(
    reservation: Reservation,
) -> None:
    running = [
        on_demand(1, "m5.xlarge", reservation.platform, tenancy=reservation.tenancy),
        on_demand(2, reservation.instance_type, reservation.platform, tenancy=reservation.tenancy),
    ]
    assert numbers(covered([reservation], running)) == [2]


def test_another_type_platform_zone_or_tenancy_is_not_covered() -> None:
    reservations = [
        reserved(1, "eu-west-1b"),
        reserved(1, instance_type="c5.large"),
        reserved(1, platform="Windows"),
        reserved(1, tenancy="dedicated"),
    ]
    assert covered(reservations, [on_demand(1)]).covered == {}
    assert covered([reserved(1)], [on_demand(1, tenancy="dedicated")]).covered == {}


def test_one_instance_is_covered_once_and_by_its_zone_first() -> None:
    found = covered([reserved(1), reserved(1, ZONE)], [on_demand(1)])
    assert found.covered == {"i-00000001": f"Reserved Instances of m5.large in {ZONE}"}
    assert found.free.covers(spot()) == "Reserved Instances of the family m5 in the Region"


@pytest.mark.parametrize(("commitment", "expected"), [("0.0699", []), ("0.0700", [1]), ("0.1399", [1]),
                                                      ("0.1400", [1, 2]), ("0.5000", [1, 2])])  # fmt: skip
def test_a_savings_plan_covers_up_to_its_commitment(commitment: str, expected: list[int]) -> None:
    plans = [savings_plan(commitment, m5_large="0.07")]
    assert numbers(covered([], [on_demand(1), on_demand(2)], plans)) == expected


def test_a_savings_plan_goes_to_the_highest_saving_first_and_of_equal_ones_to_the_lowest_rate() -> None:
    running = [on_demand(1), on_demand(2, "c5.large"), on_demand(3, "r5.large"), on_demand(4, "m5.xlarge")]
    rates: dict[str, Any] = {"m5_large": "0.07", "c5_large": "0.04", "r5_large": "0.09", "m5_xlarge": "0.14"}
    for commitment, expected in (("0.04", [2]), ("0.11", [1, 2]), ("0.25", [1, 2, 4]), ("0.34", [1, 2, 3, 4])):
        assert numbers(covered([], running, [savings_plan(commitment, **rates)])) == expected


def test_reservations_come_before_plans_and_plans_of_a_family_before_those_of_all() -> None:
    running = [on_demand(1), on_demand(2), on_demand(3)]
    family = savings_plan("0.06", PlanKind.EC2_INSTANCE, "sp-2", m5_large="0.06")
    found = covered([reserved(1)], running, [savings_plan("0.07", m5_large="0.07"), family])
    assert list(found.covered.values()) == [
        "Reserved Instances of the family m5 in the Region",
        "EC2 Instance Savings Plan of m5 sp-2",
        "Compute Savings Plan sp-1",
    ]


def test_commitments_that_each_cover_a_part_cover_an_instance_together() -> None:
    found = covered([reserved(1)], [on_demand(1, "m5.xlarge")], [savings_plan("0.07", m5_xlarge="0.14")])
    (by,) = found.covered.values()
    assert by == "Reserved Instances of the family m5 in the Region and Compute Savings Plan sp-1"
    short = covered([reserved(1)], [on_demand(1, "m5.xlarge")], [savings_plan("0.0699", m5_xlarge="0.14")])
    assert short.covered == {}


def test_plans_of_a_kind_are_one_and_a_type_without_a_rate_is_not_covered() -> None:
    halves = [savings_plan("0.04", plan_id=name, m5_large="0.08") for name in ("sp-a", "sp-b")]
    assert covered([], [on_demand(1)], halves).covered == {"i-00000001": "Compute Savings Plan sp-a, sp-b"}
    assert covered([], [on_demand(1, "c5.large")], halves).covered == {}


@pytest.mark.parametrize(("percent", "expected"), [(0, []), (49, []), (50, [1]), (99, [1]), (100, [1, 2])])
def test_only_what_others_leave_of_a_compute_savings_plan_is_counted(percent: int, expected: list[int]) -> None:
    plan = savings_plan("0.14", m5_large="0.07").usable(percent)
    assert numbers(covered([], [on_demand(1), on_demand(2)], [plan])) == expected
    family = savings_plan("0.14", PlanKind.EC2_INSTANCE, m5_large="0.07")
    assert family.usable(percent) == family


TYPES = st.sampled_from(["m5.large", "m5.xlarge", "m5.2xlarge", "c5.large"])
RUNNING = st.lists(TYPES, max_size=8).map(lambda types: [on_demand(at, name) for at, name in enumerate(types, 1)])
RESERVATIONS = st.lists(st.builds(reserved, st.integers(0, 3), st.sampled_from([None, ZONE]), TYPES), max_size=4)
RATES: dict[str, Any] = {"m5_large": "0.07", "m5_xlarge": "0.14", "m5_2xlarge": "0.28", "c5_large": "0.05"}
PLANS = st.lists(st.decimals("0", "0.5", places=2).map(lambda most: savings_plan(str(most), **RATES)), max_size=2)


@given(RUNNING, RESERVATIONS, PLANS)
def test_no_commitment_pays_more_than_there_is_of_it_and_none_is_lost(
    running: list[Instance], reservations: list[Reservation], plans: list[SavingsPlan]
) -> None:
    found = covered(reservations, running, plans)
    for commitment in found.free.commitments:
        assert 0 <= commitment.left <= commitment.amount
        if commitment.left:  # then everything that it can cover is covered
            assert all(one.instance_id in found.covered for one in running if commitment.needs(one))


@given(RUNNING, RESERVATIONS, PLANS, TYPES)
def test_what_would_be_covered_in_addition_is_covered_once_it_runs_and_takes_no_cover_from_others(
    running: list[Instance], reservations: list[Reservation], plans: list[SavingsPlan], instance_type: str
) -> None:
    before, new = covered(reservations, running, plans), on_demand(99, instance_type)
    after = covered(reservations, [*running, new], plans)
    if before.free.covers(new):
        assert after.covered.keys() == before.covered.keys() | {new.instance_id}


# Asked of AWS


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment_scan, "_known_rates", {})


def running_answer(*types: str) -> list[object]:
    return [
        {
            "instancesSet": [
                {
                    "instanceId": f"i-{at:08x}",
                    "instanceType": name,
                    "placement": {"availabilityZone": ZONE, "tenancy": "default"},
                    "imageId": "ami-1",
                    "instanceState": {"name": "running"},
                    "launchTime": f"2026-01-0{at}T00:00:00Z",
                    "platformDetails": "Linux/UNIX",
                }
                for at, name in enumerate(types, 1)
            ]
        }
    ]


def looked(answers: Answers, prices: Prices | None = None) -> tuple[Cover, tuple[str, ...]]:
    return CommitmentScan(Describe(answers.clients), "eu-west-1", prices or Prices("USD")).cover()


def test_reservations_plans_and_their_rates_are_read_as_aws_gives_them() -> None:
    with answering() as aws:
        aws.lists = {
            "DescribeReservedInstances": [
                {"reservedInstancesId": "r-1", "instanceType": "m5.large", "instanceCount": 1, "scope": "Region",
                 "productDescription": "Linux/UNIX (Amazon VPC)", "instanceTenancy": "default", "state": "active"},
                {"reservedInstancesId": "r-2", "instanceType": "c5.large", "instanceCount": 1,
                 "scope": "Availability Zone", "availabilityZone": "eu-west-1b", "productDescription": "Linux/UNIX",
                 "instanceTenancy": "default", "state": "active"},
            ],
            "DescribeSavingsPlans": [
                plan_answer("sp-1", "0.07"),
                plan_answer("sp-2", "9", "EC2Instance", region="us-east-1", ec2InstanceFamily="m5"),
                plan_answer("sp-3", "9", "SageMaker"),
            ],
            "DescribeSavingsPlanRates": [
                rate_answer("m5.large", "0.01", usage="UnusedBox"),
                rate_answer("m5.large", "0.02", tenancy="dedicated"),
                rate_answer("m5.large", "0.07"),
                rate_answer("c5.large", "0.08"),
            ],
            "DescribeInstances": running_answer("m5.large", "m5.large", "c5.large"),
        }  # fmt: skip
        found, notes = looked(aws)
        assert notes == ()
        assert found.covered == {
            "i-00000001": "Reserved Instances of the family m5 in the Region",
            "i-00000002": "Compute Savings Plan sp-1",
        }
        assert aws.count("DescribeSavingsPlans") == 2  # pages
        looked(aws)
        assert aws.count("DescribeSavingsPlanRates") == 2  # once for the plan's term
        asked = {each["name"]: each["values"] for each in dict(aws.asked)["DescribeSavingsPlanRates"]["filters"]}
        assert asked["region"] == ["eu-west-1"]


def test_without_a_commitment_instances_are_not_asked_for() -> None:
    with answering() as aws:
        assert looked(aws) == (Cover(), ())
        assert [name for name, _ in aws.asked] == ["DescribeReservedInstances", "DescribeSavingsPlans"]


def test_what_may_not_be_asked_is_told_and_the_rest_is_counted() -> None:
    with answering() as aws:
        aws.lists = {
            "DescribeSavingsPlans": [plan_answer("sp-1", "0.07")],
            "DescribeInstances": running_answer("m5.large"),
        }
        aws.refused = {
            "DescribeReservedInstances": "UnauthorizedOperation",
            "DescribeSavingsPlanRates": "AccessDeniedException",
        }
        hour = '{"region": "eu-west-1", "instance_type": "m5.large", "platform": "Linux/UNIX", "per_hour": "0.07"}'
        listed = read_prices(
            f'{{"version": 1, "currency": "USD", "on_demand": [], "spot": [], "covered": [{hour}]}}'.encode()
        )
        found, notes = looked(aws, listed)
        assert found.covered == {"i-00000001": "Compute Savings Plan sp-1"}
        assert "Reserved Instances are not looked at: DescribeReservedInstances: UnauthorizedOperation" in notes[0]
        assert "rates of Savings Plan sp-1 are those of the price file" in notes[1]
