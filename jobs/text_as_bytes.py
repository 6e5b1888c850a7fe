"""Text on its way from Flink's SQL to a Python operator, as bytes, which come as they are.

In thread mode PyFlink's bridge to the JVM (pemja 0.5.7) reads the first character of a text in a row as a byte order
mark where it is one: U+FEFF is lost, and after U+FFFE each character's bytes are swapped. Either makes another key of a
partition key that begins so.
"""

from collections.abc import Collection

from pyflink.table import Table
from pyflink.table.expressions import col

_ENCODING = "UTF-8"


def text_as_bytes(table: Table, names: Collection[str]) -> Table:
    """A table with some of its columns of text as bytes in UTF-8; the rest as they are."""
    columns = table.get_schema().get_field_names()
    return table.select(*(col(each).encode(_ENCODING).alias(each) if each in names else col(each) for each in columns))


def text_of(value: bytes) -> str:
    """The text that such bytes stand for."""
    return bytes(value).decode(_ENCODING)
