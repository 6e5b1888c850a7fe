"""Items as they look in a change record, with their exact sizes. Pure.

Weighing an item costs more than writing it, so items are put together from parts that were weighed once:
a template of attributes of all types, an attribute cut to length from a long text, a version and the keys.
"""

import json
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple, TypeVar

from connectors.dynamodb.item_size import item_bytes, number_bytes
from jobs.generate.profile import MAX_ITEM_BYTES

AttributeValue = dict[str, Any]

_TEMPLATES: Final = 400
_MOST_ATTRIBUTES: Final = 14
_MOST_NESTING: Final = 5
_VERSIONS_AT_HAND: Final = 4_096
# How far into its text an attribute may begin: gzip, which looks back 32 KiB, has to find it again.
_CUTS: Final = 512

_NAMES: Final = (
    "status", "priority", "subject", "channel", "assignee", "tags", "labels", "meta", "parts", "source",
    "rating", "score", "attempts", "balance", "read", "archived", "deleted_by", "checksum", "thumbnail",
    "keys_seen", "history", "contact", "prénom", "display name", 'quoted "name"', "ünïcode", "a",
)  # fmt: skip
_WORDS: Final = (
    "open", "closed", "snoozed", "e-mail", "chat", "webhook", "billing", "refund", "invoice", "delivery", "",
    "été", "Grüße", "привет", "注文", "👍🏽", 'said "no"', "back\\slash", "two\nlines", "tab\there", "<b>",
)  # fmt: skip
_SENTENCE: Final = (
    "the", "customer", "asks", "when", "an", "order", "of", "last", "week", "arrives", "and", "can", "we",
    "send", "it", "elsewhere",
)  # fmt: skip
_LONG_NUMBER: Final = "13579246801357924680135792468013579246"  # 38 digits, the most that DynamoDB keeps
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Filler:
    """An attribute that can be cut to any length: `unit_length` bytes of its JSON weigh `unit_bytes`."""

    head: bytes
    text: bytes
    name_bytes: int
    unit_length: int
    unit_bytes: int


@dataclass(frozen=True, slots=True)
class Template:
    """Attributes as JSON, each followed by a comma, what they weigh, and the attribute to fill up with."""

    json: bytes
    weight_bytes: int
    filler: Filler


class Keys(NamedTuple):
    """A primary key as JSON without its braces, and what it weighs."""

    json: bytes
    weight_bytes: int


class Item(NamedTuple):
    """An item in so few words that many can be kept; `Shelf.image` has the long form.

    Version 0 is an item of nothing but its keys.
    """

    keys: Keys
    target_bytes: int
    template: Template
    first_unit: int
    units: int
    version: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """The parts that items are made of, the templates sorted by weight."""

    templates: Sequence[Template]
    weights_bytes: Sequence[int]
    version_name: str
    versions: Sequence[tuple[bytes, int]]

    def item(self, random: Random, keys: Keys, target_bytes: int, version: int) -> Item:
        """An item of this size: at most 16 bytes smaller, and larger only where its keys are."""
        room_bytes = target_bytes - keys.weight_bytes - self.version(version)[1]
        if room_bytes < 0:
            return Item(keys, target_bytes, self.templates[0], 0, 0, 0)
        # The heaviest that fit are likelier, so that an item is more than one long text.
        chance = random.random()
        fitting = bisect_right(self.weights_bytes, room_bytes)
        template = self.templates[fitting - 1 - int(chance * chance * fitting)]
        return self._filled(random, keys, target_bytes, template, version)

    def next_version(self, random: Random, item: Item) -> Item:
        """The item after a change that leaves its size as it was, except where it had no version."""
        if item.version == 0:
            return item._replace(version=1)
        return self._filled(random, item.keys, item.target_bytes, item.template, item.version + 1)

    def _filled(
        self, random: Random, keys: Keys, target_bytes: int, template: Template, version: int
    ) -> Item:
        filler = template.filler
        room_bytes = target_bytes - keys.weight_bytes - template.weight_bytes - self.version(version)[1]
        units = (room_bytes - filler.name_bytes) // filler.unit_bytes
        return Item(keys, target_bytes, template, int(random.random() * _CUTS), max(0, units), version)

    def image(self, item: Item) -> tuple[tuple[bytes, ...], int]:
        """The item as JSON, in pieces to be joined, and its size in bytes."""
        keys, _, template, first_unit, units, version = item
        if version == 0:
            return (b"{", keys.json, b"}"), keys.weight_bytes
        version_json, version_bytes = self.version(version)
        size_bytes = keys.weight_bytes + template.weight_bytes + version_bytes
        if units == 0:
            return (b"{", template.json, version_json, keys.json, b"}"), size_bytes
        filler = template.filler
        length = filler.unit_length
        text = filler.text[first_unit * length : (first_unit + units) * length]
        size_bytes += filler.name_bytes + units * filler.unit_bytes
        return (b"{", template.json, filler.head, text, b'"},', version_json, keys.json, b"}"), size_bytes

    def version(self, version: int) -> tuple[bytes, int]:
        """The attribute that counts the changes of an item, with a comma, and what it weighs."""
        if version < len(self.versions):
            return self.versions[version]
        return _version_part(self.version_name, version)


def build_shelf(random: Random, taken_names: Collection[str]) -> Shelf:
    """Parts for items; no attribute has one of the taken names, which are those of keys."""
    body, payload, version = (_free(name, taken_names) for name in ("body", "payload", "version"))
    fillers = _fillers(random, body, payload)
    names = [name for name in _NAMES if name not in taken_names]
    templates = [Template(b"", 0, filler) for filler in fillers[:1]]
    for count in range(1, _TEMPLATES):
        attributes = _attributes(random, names, 1 + count % _MOST_ATTRIBUTES)
        templates.append(
            Template(_inner_json(attributes) + b",", item_bytes(attributes), pick(random, fillers))
        )
    templates.sort(key=lambda template: template.weight_bytes)
    return Shelf(
        templates=templates,
        weights_bytes=[template.weight_bytes for template in templates],
        version_name=version,
        versions=[_version_part(version, number) for number in range(_VERSIONS_AT_HAND)],
    )


def pick(random: Random, choices: Sequence[_T]) -> _T:
    """One of the choices, all alike."""
    # The methods of Random beyond random() and getrandbits() may draw differently in another Python.
    return choices[int(random.random() * len(choices))]


def twice_encoded(data: bytes) -> str:
    """Bytes as the stream to Kinesis tells them, in base64 of base64."""
    return b64encode(b64encode(data)).decode()


def keys_part(attributes: AttributeValue) -> Keys:
    """A primary key, or an attribute of one, ready to be put into records."""
    return Keys(_inner_json(attributes), item_bytes(attributes))


def _inner_json(attributes: AttributeValue) -> bytes:
    return json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))[1:-1].encode()


def _version_part(name: str, version: int) -> tuple[bytes, int]:
    if version == 0:
        return b"", 0
    attribute = {name: {"N": str(version)}}
    return _inner_json(attribute) + b",", len(name) + number_bytes(str(version))


def _free(name: str, taken_names: Collection[str]) -> str:
    while name in taken_names:
        name += "_"
    return name


def _fillers(random: Random, body: str, payload: str) -> Sequence[Filler]:
    """Four times a text of one byte a character, once of two, and once binary: 9 bytes in 16 characters."""
    ascii_text = " ".join(pick(random, _SENTENCE) for _ in range(_CUTS))[:_CUTS]
    greek_text = "".join(pick(random, "αβγδεζηθικλμνξοπρστυφχψω") for _ in range(_CUTS))
    binary_text = twice_encoded(bytes(random.getrandbits(8) for _ in range(_CUTS * 9)))
    text_filler = Filler(f'"{body}":{{"S":"'.encode(), _periodic(ascii_text, 1), len(body), 1, 1)
    greek_filler = Filler(f'"{body}":{{"S":"'.encode(), _periodic(greek_text, 2), len(body), 2, 2)
    binary_filler = Filler(f'"{payload}":{{"B":"'.encode(), _periodic(binary_text, 9), len(payload), 16, 9)
    return (text_filler,) * 4 + (greek_filler, binary_filler)


def _periodic(period: str, unit_bytes: int) -> bytes:
    """The text again and again, until the largest item can be cut from it wherever the cut begins."""
    return period.encode() * (MAX_ITEM_BYTES // (unit_bytes * _CUTS) + 2)


def _attributes(random: Random, names: Sequence[str], count: int) -> AttributeValue:
    left = list(names)
    chosen = [left.pop(int(random.random() * len(left))) for _ in range(min(count, len(left)))]
    return {name: _value(random, 1) for name in chosen}


def _value(random: Random, depth: int) -> AttributeValue:
    chance = random.random()
    if chance < 0.3:
        return {"S": _string(random)}
    if chance < 0.5:
        return {"N": _number(random)}
    if chance < 0.75:
        return _rare_value(random)
    if depth >= _MOST_NESTING:
        return {"BOOL": True}
    return _nested(random, depth)


def _nested(random: Random, depth: int) -> AttributeValue:
    count = int(random.random() * 4)
    if random.random() < 0.5:
        return {"L": [_value(random, depth + 1) for _ in range(count)]}
    return {"M": {pick(random, _NAMES): _value(random, depth + 1) for _ in range(count)}}


def _rare_value(random: Random) -> AttributeValue:
    members = 1 + int(random.random() * 3)
    kind = pick(random, ("B", "BOOL", "NULL", "SS", "NS", "BS"))
    if kind == "B":
        return {"B": _binary(random)}
    if kind == "BOOL":
        return {"BOOL": random.random() < 0.5}
    if kind == "NULL":
        return {"NULL": True}
    draw = {"SS": _string, "NS": _number, "BS": _binary}[kind]
    return {kind: list(dict.fromkeys(draw(random) for _ in range(members)))}


def _string(random: Random) -> str:
    return " ".join(pick(random, _WORDS) for _ in range(int(random.random() * 5)))


def _binary(random: Random) -> str:
    return twice_encoded(bytes(random.getrandbits(8) for _ in range(int(random.random() * 24))))


def _number(random: Random) -> str:
    """A number as DynamoDB writes it: no zeros that say nothing, at most 38 digits."""
    digits = str(random.getrandbits(1 + int(random.random() * 50)))
    chance = random.random()
    if chance < 0.4 or digits == "0":
        return digits
    if chance < 0.55:
        return f"-{digits}"
    if chance < 0.6:
        return _LONG_NUMBER
    if chance < 0.7:
        return digits + "0" * int(random.random() * 12)
    fraction = "0" * int(random.random() * 6) + str(1 + random.getrandbits(12))
    return f"{pick(random, ('', '-'))}{pick(random, ('0', digits))}.{fraction.rstrip('0')}"
