"""Tables as they are while a recording is made: items that persist, and the record of each change. Pure."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from enum import Enum
from itertools import accumulate
from random import Random
from typing import Final

from jobs.generate.attributes import twice_encoded
from jobs.generate.items import Item, Keys, Shelf, keys_part
from jobs.generate.profile import KeyAttribute, KeyType, Profile, SizeRange, Table

_KEPT_ITEMS: Final = 8  # of each tenant; older ones are left alone from then on
_RESIZED: Final = 0.25  # of the modifications; the others leave the size as it was
_OLDEST_VERSION: Final = 40
_SORT_KEY_DIGITS: Final = "0" * 12
_SORT_KEY_TEXT: Final = f"item#{_SORT_KEY_DIGITS}"
_HEAD: Final = b'{"awsRegion":"eu-west-1","eventID":"'
_TAIL: Final = b'},"eventSource":"aws:dynamodb"}'
_MICROSECOND: Final = b',"ApproximateCreationDateTimePrecision":"MICROSECOND"'


class Sizes:
    """Sizes of items, drawn from ranges by their weight."""

    def __init__(self, ranges: Sequence[SizeRange]) -> None:
        self._ranges = [(sizes.smallest_bytes, sizes.largest_bytes + 1 - sizes.smallest_bytes) for sizes in ranges]
        self._weights = list(accumulate(sizes.weight for sizes in ranges))

    def draw(self, random: Random) -> int:
        """A size in bytes."""
        index = 0
        if len(self._weights) > 1:
            index = bisect_right(self._weights, random.random() * self._weights[-1], 0, len(self._weights) - 1)
        smallest_bytes, count = self._ranges[index]
        chance = random.random()
        return smallest_bytes + int(chance * chance * count)


class _Kind(Enum):
    """What happens to an item, with the two fields of a record that say so."""

    INSERT = b'","eventName":"INSERT","userIdentity":null'
    MODIFY = b'","eventName":"MODIFY","userIdentity":null'
    REMOVE = b'","eventName":"REMOVE","userIdentity":null'
    EXPIRE = b'","eventName":"REMOVE","userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"}'

    def __init__(self, fields: bytes) -> None:
        self.fields = fields  # the same as the value, but several times as fast to read


class _Tenant:
    """What is known of a tenant in one table: its part of the key, and its latest items."""

    __slots__ = ("is_new", "items", "partition_key")

    def __init__(self, partition_key: Keys) -> None:
        self.partition_key = partition_key
        self.items: list[Item] = []
        self.is_new = True


class LiveTable:
    """One table as it is at a time: it writes a record for each change that it makes to itself."""

    def __init__(self, profile: Profile, table: Table, shelf: Shelf) -> None:
        self.table = table
        self._shelf = shelf
        self._tenants: dict[str, _Tenant] = {}
        self._modified = profile.modify_ratio
        self._removed = self._modified + profile.remove_ratio
        self._expired = self._removed + profile.ttl_ratio
        self._microseconds = profile.microseconds
        # Alphabetical, because the order in a record does not tell which is the partition key.
        self._partition_key_first = table.sort_key is None or table.partition_key.name < table.sort_key.name
        self._sort_key = None if table.sort_key is None else _SortKey(table.sort_key)
        self._middle = (
            b',"recordFormat":"application/json","tableName":%b,"dynamodb":{"ApproximateCreationDateTime":'
            % json.dumps(table.name).encode()
        )

    def change(self, random: Random, name: str, sizes: Sizes, at_us: int) -> bytes:
        """The record of one change to an item of this tenant."""
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = _Tenant(keys_part(_partition_key(self.table.partition_key, name)))
        kind = self._kind(random, tenant)
        tenant.is_new = False
        if kind is _Kind.INSERT:
            new = self._shelf.item(random, self._keys(random, tenant), sizes.draw(random), 1)
            self._keep(tenant, new)
            return self._record(random, at_us, kind, new.keys, None, new)
        old = self._existing(random, tenant, sizes, kind)
        if kind is not _Kind.MODIFY:
            return self._record(random, at_us, kind, old.keys, old, None)
        new = self._modified_item(random, old, sizes)
        self._keep(tenant, new)
        return self._record(random, at_us, kind, old.keys, old, new)

    def _kind(self, random: Random, tenant: _Tenant) -> _Kind:
        chance = random.random()
        if chance < self._modified:
            kind = _Kind.MODIFY
        elif chance < self._removed:
            kind = _Kind.REMOVE
        elif chance < self._expired:
            kind = _Kind.EXPIRE
        else:
            kind = _Kind.INSERT
        if self._sort_key is not None or tenant.is_new:
            return kind
        return _possible(kind, exists=bool(tenant.items))

    def _keys(self, random: Random, tenant: _Tenant) -> Keys:
        """The key of an item that there was not before, unless the table has but one for each tenant."""
        partition = tenant.partition_key
        if self._sort_key is None:
            return partition
        sort = self._sort_key.key(random)
        first, second = (partition, sort) if self._partition_key_first else (sort, partition)
        return Keys(b"%b,%b" % (first.json, second.json), first.weight_bytes + second.weight_bytes)

    def _existing(self, random: Random, tenant: _Tenant, sizes: Sizes, kind: _Kind) -> Item:
        """An item of the tenant, taken out; one from before the recording began where none is known."""
        items = tenant.items
        if items:
            return items.pop(0 if kind is _Kind.EXPIRE else int(random.random() * len(items)))
        version = 1 + int(random.random() * _OLDEST_VERSION)
        return self._shelf.item(random, self._keys(random, tenant), sizes.draw(random), version)

    def _modified_item(self, random: Random, old: Item, sizes: Sizes) -> Item:
        if random.random() < _RESIZED:
            new = self._shelf.item(random, old.keys, sizes.draw(random), old.version + 1)
            # An item of its keys alone may be what it was before, and that would be no change.
            if new.version:
                return new
        return self._shelf.next_version(random, old)

    def _keep(self, tenant: _Tenant, item: Item) -> None:
        tenant.items.append(item)
        if len(tenant.items) > _KEPT_ITEMS:
            del tenant.items[0]

    def _record(self, random: Random, at_us: int, kind: _Kind, keys: Keys, old: Item | None, new: Item | None) -> bytes:
        event_id = _uuid(random.getrandbits(128))
        in_microseconds = random.random() < self._microseconds
        time = b"%d" % (at_us if in_microseconds else at_us // 1_000)
        pieces = [_HEAD, event_id, kind.fields, self._middle, time, b',"Keys":{', keys.json, b"}"]
        size_bytes = keys.weight_bytes
        if new is not None:
            image, image_bytes = self._shelf.image(new)
            pieces.append(b',"NewImage":')
            pieces += image
            size_bytes += image_bytes
        if old is not None:
            image, image_bytes = self._shelf.image(old)
            pieces.append(b',"OldImage":')
            pieces += image
            size_bytes += image_bytes
        pieces += (b',"SizeBytes":%d' % size_bytes, _MICROSECOND if in_microseconds else b"", _TAIL)
        return b"".join(pieces)


def _possible(kind: _Kind, *, exists: bool) -> _Kind:
    """The kind, unless the one item of a tenant is not there, or there already."""
    if exists:
        return _Kind.MODIFY if kind is _Kind.INSERT else kind
    return _Kind.INSERT


def _partition_key(key: KeyAttribute, name: str) -> dict[str, dict[str, str]]:
    if key.type is KeyType.S:
        return {key.name: {"S": name}}
    if key.type is KeyType.N:
        return {key.name: {"N": str(int(name.rpartition("-")[2]))}}
    return {key.name: {"B": twice_encoded(name.encode())}}


class _SortKey:
    """The attribute of a sort key."""

    def __init__(self, key: KeyAttribute) -> None:
        self._key = key
        pattern = keys_part({key.name: {"S": _SORT_KEY_TEXT}})
        self._head = pattern.json[: -len(_SORT_KEY_DIGITS) - 2]
        self._weight_bytes = pattern.weight_bytes

    def key(self, random: Random) -> Keys:
        """A sort key that was not there before."""
        drawn = random.getrandbits(48)
        if self._key.type is KeyType.S:
            return Keys(b'%b%012x"}' % (self._head, drawn), self._weight_bytes)
        if self._key.type is KeyType.N:
            return keys_part({self._key.name: {"N": str(drawn)}})
        return keys_part({self._key.name: {"B": twice_encoded(drawn.to_bytes(6, "big"))}})


def _uuid(bits: int) -> bytes:
    digits = b"%032x" % bits
    return b"%b-%b-4%b-a%b-%b" % (digits[:8], digits[8:12], digits[13:16], digits[17:20], digits[20:])
