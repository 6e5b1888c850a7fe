"""Realistic recordings of DynamoDB change streams, made up from a seed: the same seed, the same bytes."""

from jobs.generate.profile import KeyAttribute, KeyType, Misbehaving, Profile, ProfileError, SizeRange, Table
from jobs.generate.stream import records

__all__ = [
    "KeyAttribute",
    "KeyType",
    "Misbehaving",
    "Profile",
    "ProfileError",
    "SizeRange",
    "Table",
    "records",
]
