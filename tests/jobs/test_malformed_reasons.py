"""What is told of why records were malformed."""

import pytest

from jobs.recorded.malformed_reasons import MalformedReasons


def told(*reasons: str) -> list[str]:
    found = MalformedReasons()
    found.add({"reason": reason} for reason in reasons)
    return found.told()


def test_the_commonest_reasons_are_told_with_their_numbers_the_commonest_first() -> None:
    assert told(*"abbccc") == ["3 x c", "2 x b", "1 x a"]
    assert told(*"ddccbbaa") == ["2 x a", "2 x b", "2 x c"]
    assert told() == []


@pytest.mark.parametrize(("count", "is_told"), [(11, False), (10, True), (9, True)])
def test_a_reason_given_less_than_a_tenth_as_often_as_the_commonest_is_left_out(count: int, is_told: bool) -> None:
    assert (told("rare", *["common"] * count)[1:] == ["1 x rare"]) is is_told


def test_reasons_that_are_all_different_take_no_more_memory_than_some_thousands_of_them() -> None:
    found = MalformedReasons()
    found.add({"reason": f"{number} is no time"} for number in range(10_001))
    found.add([{"reason": "10000 is no time"}, {"reason": "9999 is no time"}])
    assert found.told()[0] == "2 x 9999 is no time"
