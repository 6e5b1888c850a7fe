"""Items as they look in a change record, with their exact sizes. Pure.

Weighing an item costs more than writing it, so items are put together from parts that were weighed once:
a template of attributes of all types, an attribute cut to length from a long text, a version and the keys.
"""

import json
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from connectors.dynamodb.item_size import item_bytes, number_bytes
from jobs.generate.attributes import Attributes, AttributeValue, pick, twice_encoded
from jobs.generate.profile import MAX_ITEM_BYTES

_TEMPLATES: Final = 64
_MOST_ATTRIBUTES: Final = 14
_VERSIONS_AT_HAND: Final = 512
# Where in its text an attribute may begin. Few, and the text repeats after them, so that gzip finds it again.
_CUTS: Final = 64

_SENTENCE: Final = (
    "the", "customer", "asks", "when", "an", "order", "of", "last", "week", "arrives", "and", "can", "we",
    "send", "it", "elsewhere",
)  # fmt: skip


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

    def _filled(self, random: Random, keys: Keys, target_bytes: int, template: Template, version: int) -> Item:
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
    source = Attributes(random, taken_names)
    templates = [Template(b"", 0, filler) for filler in fillers[:1]]
    for count in range(1, _TEMPLATES):
        attributes = source.some(1 + count % _MOST_ATTRIBUTES)
        templates.append(Template(_inner_json(attributes) + b",", item_bytes(attributes), pick(random, fillers)))
    templates.sort(key=lambda template: template.weight_bytes)
    return Shelf(
        templates=templates,
        weights_bytes=[template.weight_bytes for template in templates],
        version_name=version,
        versions=[_version_part(version, number) for number in range(_VERSIONS_AT_HAND)],
    )


def keys_part(attributes: AttributeValue) -> Keys:
    """A primary key, or an attribute of one, ready to be put into records."""
    return Keys(_inner_json(attributes), item_bytes(attributes))


def _inner_json(attributes: AttributeValue) -> bytes:
    return json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))[1:-1].encode()


def _version_part(name: str, version: int) -> tuple[bytes, int]:
    if version == 0:
        return b"", 0
    digits = str(version)
    return f'"{name}":{{"N":"{digits}"}},'.encode(), len(name) + number_bytes(digits)


def _free(name: str, taken_names: Collection[str]) -> str:
    while name in taken_names:
        name += "_"
    return name


def _fillers(random: Random, body: str, payload: str) -> Sequence[Filler]:
    """Four times a text of one byte a character, once of two, and once binary: 9 bytes in 16 characters."""
    ascii_text = " ".join(pick(random, _SENTENCE) for _ in range(_CUTS))[:_CUTS]
    greek_text = "".join(pick(random, "αβγδεζηθικλμνξοπρστυφχψω") for _ in range(_CUTS))
    binary_text = twice_encoded(bytes(random.getrandbits(8) for _ in range(_CUTS // 4 * 9))) * 4  # as above
    text_filler = Filler(f'"{body}":{{"S":"'.encode(), _periodic(ascii_text, 1), len(body), 1, 1)
    greek_filler = Filler(f'"{body}":{{"S":"'.encode(), _periodic(greek_text, 2), len(body), 2, 2)
    binary_filler = Filler(f'"{payload}":{{"B":"'.encode(), _periodic(binary_text, 9), len(payload), 16, 9)
    return (text_filler,) * 4 + (greek_filler, binary_filler)


def _periodic(period: str, unit_bytes: int) -> bytes:
    """The text again and again, until the largest item can be cut from it wherever the cut begins."""
    return period.encode() * (MAX_ITEM_BYTES // (unit_bytes * _CUTS) + 2)
