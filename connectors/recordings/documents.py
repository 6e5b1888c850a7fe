"""Documents in a text in which nothing marks where one ends: concatenated, pretty-printed, in an array, broken. Pure.

A document is one JSON text: a change record, or an envelope that carries several. Sound documents are told apart by
JSON's own rules. A broken one (cut short, no JSON at all) ends where the next begins that stands alone.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

import msgspec

_BYTE_ORDER_MARK: Final = rb"\xef\xbb\xbf"
_BLANK: Final = re.compile(rb"(?:\s|%b)*+" % _BYTE_ORDER_MARK)
_BETWEEN: Final = re.compile(rb"(?:[\s,]|%b)*+" % _BYTE_ORDER_MARK)
_BETWEEN_IN_ARRAY: Final = re.compile(rb"(?:[\s,\[\]]|%b)*+" % _BYTE_ORDER_MARK)

_OBJECT_START: Final = re.compile(rb'\{\s*"([^"\\]*)"\s*:')
_ARRAY_START: Final = re.compile(rb"(?:\s|%b)*+\[\s*\{" % _BYTE_ORDER_MARK)
_BRACKETS: Final = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+([{\[]++|[}\]]++)', re.DOTALL)
# Names that stand in change records and envelopes themselves, not in their items: an object that begins with one is
# a document even where what stands before it has lost its end.
_NAMES_IN_DOCUMENTS: Final = frozenset(
    {
        b"awsRegion",
        b"dynamodb",
        b"eventID",
        b"eventName",
        b"eventSource",
        b"eventSourceARN",
        b"eventVersion",
        b"kinesis",
        b"recordFormat",
        b"records",
        b"Records",
        b"tableName",
        b"userIdentity",
    }
)
# Where one object ends and another follows. Inside a string a quote is escaped, so this matches there only after a
# string that ends in `}{`, and among the attributes of an item only where they have the names of a record's.
_NAMES: Final = b"|".join(sorted(_NAMES_IN_DOCUMENTS))
_END_BEFORE_OBJECT: Final = re.compile(rb'\}\s*(?=\{\s*"[^"\\]*"\s*:|,\s*\{\s*"(?:%b)"\s*:)' % _NAMES)
# How much is read over and over in search of where a broken document ends, beside eight times the text itself.
_MOST_READ_AGAIN_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a text: a document, or what stands in the place of one.

    Attributes:
        offset: Where it begins in the text, bytes.
    """

    data: bytes
    offset: int = 0


def is_document(text: bytes) -> bool:
    """Whether the bytes are exactly one JSON value (bytes that are not UTF-8 are left to the decoder)."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def is_truncated(text: bytes) -> bool:
    """Whether the bytes are the beginning of a JSON value, and more of them could make it whole."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return "truncated" in str(error)
    except (UnicodeDecodeError, RecursionError):
        return False
    return False


def begins_array(text: bytes) -> bool:
    """Whether the text is, or should have been, an array of objects."""
    return _ARRAY_START.match(text) is not None


def begins_document(text: bytes) -> bool:
    """Whether the text begins as a change record or an envelope does."""
    start = _OBJECT_START.match(text, skip_blank(text))
    return start is not None and start[1] in _NAMES_IN_DOCUMENTS


def skip_blank(text: bytes) -> int:
    """Where the text begins that is neither white space nor a byte order mark."""
    return _end_of(_BLANK, text, 0)


def first_value_end(text: bytes, start: int = 0) -> int | None:
    """Where the object or array that starts there ends, by its brackets alone; None where it does not end."""
    depth = 0
    at = start
    while run := _BRACKETS.match(text, at):
        at = run.end()
        length = at - run.start(1)
        if run[1][:1] in b"{[":
            depth += length
        elif length < depth:
            depth -= length
        else:
            return run.start(1) + depth
    return None


def split_documents(
    text: bytes, *, whole: bool = True, in_array: bool = False, after_broken: bool = False
) -> tuple[list[Part], int]:
    """The documents of a text, broken ones included, and where in it they end.

    Args:
        text: Documents with nothing, white space or commas between them.
        whole: Nothing follows the text. Otherwise what only more text can tell the end of is left out.
        in_array: The documents stand in an array, whose brackets are passed over too.
        after_broken: The text begins amid a broken document, and counts from the next one on.
    """
    return _Splitter(text, whole=whole, in_array=in_array).split(after_broken=after_broken)


class _Splitter:
    def __init__(self, text: bytes, *, whole: bool, in_array: bool) -> None:
        self._text = text
        self._whole = whole
        self._between = _BETWEEN_IN_ARRAY if in_array else _BETWEEN
        self._read_again_bytes = 8 * len(text) + _MOST_READ_AGAIN_BYTES

    def split(self, *, after_broken: bool) -> tuple[list[Part], int]:
        text = self._text
        at: int | None = self._end_of_broken(0, None) if after_broken else self._skip(0)
        if at is None:
            return [], 0
        if self._whole and is_document(text[at:]):
            return [Part(text[at:].rstrip(), at)], len(text)
        # Nearly always these are where documents end, and the decoder only has to agree.
        likely = [match.end() for match in _END_BEFORE_OBJECT.finditer(text)]
        parts: list[Part] = []
        while at < len(text):
            following = bisect_right(likely, at)
            end = likely[following] if following < len(likely) else None
            if end is None or not is_document(text[at:end]):
                end = self._end_of_document(at)
            if end is None:
                break
            parts.append(Part(text[at:end].rstrip(), at))
            at = self._skip(end)
        return parts, at

    def _skip(self, at: int) -> int:
        return _end_of(self._between, self._text, at)

    def _end_of_document(self, at: int) -> int | None:
        """Where a document ends, broken or not; None where only more text can tell."""
        if not self._whole and is_truncated(self._text[at:]):
            return None
        end = first_value_end(self._text, at) if self._text[at] in b"{[" else None
        if end is not None and is_document(self._text[at:end]):
            return end
        alone = False if end is None else self._nothing_goes_on(end)
        return None if alone is None else self._end_of_broken(at + 1, end if alone else None)

    def _end_of_broken(self, after: int, end: int | None) -> int | None:
        """Where a broken document ends: before the next object that is no part of a larger one.

        Args:
            after: Where to look from.
            end: Where it ends by its brackets, if it does; a string that is cut short lets them deceive.
        """
        text = self._text
        is_open = False
        for start in _OBJECT_START.finditer(text, after):
            at = start.start()
            if end is not None and at >= end:
                break
            if start[1] not in _NAMES_IN_DOCUMENTS and text[max(0, at - 64) : at].rstrip()[-1:] in (b":", b",", b"["):
                continue
            end_of_next = first_value_end(text, at)
            alone = None if end_of_next is None else self._nothing_goes_on(end_of_next)
            if alone:
                return at
            is_open |= alone is None
            self._read_again_bytes -= (end_of_next or len(text)) - at
            if self._read_again_bytes < 0:
                break
        if is_open and not self._whole:
            return None
        return end or (len(text) if self._whole else None)

    def _nothing_goes_on(self, end: int) -> bool | None:
        """Whether what follows an object or array cannot belong to a larger one; None where more text may tell."""
        after = self._skip(end)
        if after == len(self._text):
            return True if self._whole else None
        separated = _end_of(_BLANK, self._text, end) < after
        follower = self._text[after]
        return follower in b"{[" if separated else follower not in b"}]:"


def _end_of(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
