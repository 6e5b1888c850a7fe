"""What the settings say of tables, as decoders want it. Pure."""

from connectors.dynamodb.change import TableSchema
from jobs.settings import Settings


def table_schemas(settings: Settings) -> dict[str, TableSchema]:
    """What the settings say of each table, by its name."""
    return {name: TableSchema(table.partition_key, table.transactional) for name, table in settings.tables.items()}
