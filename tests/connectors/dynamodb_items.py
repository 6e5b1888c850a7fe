"""Random DynamoDB items with their sizes, added up while they are made and not by the code under test."""

from base64 import b64encode
from decimal import Context, Decimal
from typing import Any

from hypothesis import strategies as st

EXACT = Context(prec=400)

Weighed = tuple[dict[str, Any], int]


def base100_bytes(number: Decimal) -> int:
    """The size of a number, by writing it as an integer of base 100 times a power of 100."""
    if number == 0:
        return 1
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    integer = int("".join(map(str, digits)))
    if exponent % 2:
        integer *= 10
    while integer % 100 == 0:
        integer //= 100
    places = 0
    while integer:
        integer //= 100
        places += 1
    return places + 1 + sign


def plain_number(number: Decimal) -> str:
    """The number as DynamoDB writes it: no exponent, no zeros that say nothing."""
    return f"{EXACT.normalize(number):f}"


def twice_base64(data: bytes) -> str:
    return b64encode(b64encode(data)).decode()


@st.composite
def numbers(draw: st.DrawFn) -> Decimal:
    """Any number that DynamoDB can hold."""
    length = draw(st.integers(1, 38))
    digits = draw(st.integers(10 ** (length - 1), 10**length - 1))
    highest = draw(st.one_of(st.integers(-5, 40), st.integers(-130, 125)))
    number = EXACT.scaleb(Decimal(digits), highest - length + 1)
    return draw(st.sampled_from([number, number.copy_negate(), Decimal(0)]))


_texts = st.text(max_size=12)
_names = st.text(min_size=1, max_size=8)
_binaries = st.binary(max_size=12)

_scalars: st.SearchStrategy[Weighed] = st.one_of(
    _texts.map(lambda text: ({"S": text}, len(text.encode()))),
    numbers().map(lambda number: ({"N": plain_number(number)}, base100_bytes(number))),
    _binaries.map(lambda data: ({"B": twice_base64(data)}, len(data))),
    st.booleans().map(lambda value: ({"BOOL": value}, 1)),
    st.just(({"NULL": True}, 1)),
    st.lists(_texts, min_size=1, max_size=3, unique=True).map(
        lambda members: ({"SS": members}, sum(len(member.encode()) for member in members))
    ),
    st.lists(numbers(), min_size=1, max_size=3, unique=True).map(
        lambda members: (
            {"NS": [plain_number(member) for member in members]},
            sum(base100_bytes(member) for member in members),
        )
    ),
    st.lists(_binaries, min_size=1, max_size=3, unique=True).map(
        lambda members: ({"BS": [twice_base64(member) for member in members]}, sum(map(len, members)))
    ),
)


def _named(values: dict[str, Weighed]) -> Weighed:
    return (
        {name: value for name, (value, _) in values.items()},
        sum(len(name.encode()) + size for name, (_, size) in values.items()),
    )


def _map(values: dict[str, Weighed]) -> Weighed:
    attributes, size = _named(values)
    return {"M": attributes}, 3 + size + len(values)


def _list(values: list[Weighed]) -> Weighed:
    return {"L": [value for value, _ in values]}, 3 + sum(size + 1 for _, size in values)


_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.dictionaries(_names, inner, max_size=3).map(_map), st.lists(inner, max_size=3).map(_list)
    ),
    max_leaves=6,
)


def items() -> st.SearchStrategy[Weighed]:
    """Attributes and their size in bytes."""
    return st.dictionaries(_names, _values, max_size=5).map(_named)


@st.composite
def keys(draw: st.DrawFn) -> Weighed:
    """The one or two key attributes of an item and their size in bytes."""
    value: st.SearchStrategy[Weighed] = st.one_of(
        st.text(min_size=1, max_size=12).map(lambda text: ({"S": text}, len(text.encode()))),
        numbers().map(lambda number: ({"N": plain_number(number)}, base100_bytes(number))),
        st.binary(min_size=1, max_size=12).map(lambda data: ({"B": twice_base64(data)}, len(data))),
    )
    return _named(draw(st.dictionaries(_names, value, min_size=1, max_size=2)))
