"""What Reserved Instances pay for."""

import pytest

from connectors.spot_facts import DEFAULT_PLATFORM, Purchase
from lambdas.spot.commitments import Reservation, cover
from tests.lambdas.test_spot_plan import ZONE, instance


def reserved(count: int, zone: str | None = None, instance_type: str = "m5.large") -> Reservation:
    return Reservation(instance_type, DEFAULT_PLATFORM, zone, count)


@pytest.mark.parametrize(("count", "covered", "free"), [(0, 0, {}), (1, 1, {}), (2, 2, {}), (3, 2, {"m5.large": 1})])
def test_a_reservation_covers_as_many_as_it_has_and_the_rest_is_free(
    count: int, covered: int, free: dict[str, int]
) -> None:
    found = cover([reserved(count)], [instance(1), instance(2), instance(3, Purchase.SPOT)])
    assert (len(found.covered), dict(found.free)) == (covered, free)


def test_one_instance_is_covered_once_and_by_its_zone_first() -> None:
    found = cover([reserved(1), reserved(1, ZONE)], [instance(1)])
    assert found.covered == {"i-00000001": f"a Reserved Instance in {ZONE}"}
    assert found.free == {"m5.large": 1}


def test_another_type_platform_or_zone_is_not_covered() -> None:
    reservations = [
        reserved(1, "eu-west-1b"),
        reserved(1, instance_type="m5.xlarge"),
        Reservation("m5.large", "Windows", None, 1),
    ]
    assert cover(reservations, [instance(1)]).covered == {}
