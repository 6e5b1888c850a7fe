"""Instance size: how much of a family's reservations a size takes. Pure.

Source: EC2 User Guide, apply_ri, "Instance size flexibility": a regional Reserved Instance of Linux/UNIX with default
tenancy applies to all sizes of its family, each by its normalization factor; nano has 0.25, large 4, xlarge 8, and N
times xlarge N times 8. The guide's table has no size that breaks this rule.
"""

import re
from fractions import Fraction
from typing import Final

_SMALL: Final = {
    "nano": Fraction(1, 4),
    "micro": Fraction(1, 2),
    "small": Fraction(1),
    "medium": Fraction(2),
    "large": Fraction(4),
    "xlarge": Fraction(8),
}
_LARGE: Final = re.compile(r"([1-9][0-9]{0,2})xlarge|metal-([1-9][0-9]{0,2})xl")

# The guide names accelerated families whose reservations hold for one size only, and adds to them as they come out. All
# accelerated, high-performance and high-memory families are taken for such: a smaller cover than there is, never a
# larger.
_ONE_SIZE: Final = re.compile(r"(?:g|gr|p|inf|trn|dl|vt|f|hpc|mac|u)[-0-9].*")


def family_of(instance_type: str) -> str:
    """The family of a type: `m5` of `m5.large`."""
    return instance_type.partition(".")[0]


def normalization_factor(instance_type: str) -> Fraction | None:
    """How much of its family's reservations an instance takes; None for a size that is not known, as `metal` is.

    Plain `metal` counts like the largest size of its family, which its name does not say.
    """
    size = instance_type.partition(".")[2]
    if size in _SMALL:
        return _SMALL[size]
    found = _LARGE.fullmatch(size)
    return _SMALL["xlarge"] * int(found[1] or found[2]) if found else None


def is_size_flexible(instance_type: str) -> bool:
    """Whether a regional reservation of a type holds for the other sizes of its family too."""
    return normalization_factor(instance_type) is not None and not _ONE_SIZE.fullmatch(family_of(instance_type))
