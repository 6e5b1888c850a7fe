"""Text as SQL has it, the same in Flink, DuckDB and Athena. Pure."""


def sql_text(text: str) -> str:
    """The text as a literal, quotes included."""
    return "'" + text.replace("'", "''") + "'"
