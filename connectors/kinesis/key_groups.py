"""Keys that Flink puts into a given key group, and so on a given subtask. Pure.

The rules are those of Flink's `KeyGroupRangeAssignment` and of `Row.hashCode`, on which every savepoint relies.
"""

from typing import Final

_BITS: Final = 0xFFFF_FFFF
_HASH_CODE_OF_ROW_OF_ZERO: Final = 62


def keys_of_groups(groups: int) -> list[int]:
    """For each of so many key groups the first whole number that is in it when a PyFlink stream is keyed by it."""
    keys: dict[int, int] = {}
    key = 0
    while len(keys) < groups:
        keys.setdefault(key_group_of(key, groups), key)
        key += 1
    return [keys[group] for group in range(groups)]


def key_group_of(key: int, groups: int) -> int:
    """The key group of a whole number, 0 or above and below 2**30; PyFlink's keys are rows of one field."""
    return _murmur_hash(_HASH_CODE_OF_ROW_OF_ZERO + key) % groups


def _murmur_hash(code: int) -> int:
    """`MathUtils.murmurHash` of a positive number."""
    code = code * 0xCC9E2D51 & _BITS
    code = _rotated(code, 15) * 0x1B873593 & _BITS
    code = _rotated(code, 13)
    code = code * 5 + 0xE6546B64 & _BITS
    code ^= 4
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        code = (code ^ code >> shift) * factor & _BITS
    code ^= code >> 16
    signed = code - (1 << 32) if code >> 31 else code
    return abs(signed) if signed != -(1 << 31) else 0


def _rotated(code: int, by: int) -> int:
    return (code << by | code >> 32 - by) & _BITS
