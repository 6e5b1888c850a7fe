"""Flink's own JSON format and windows: all of it in the JVM, Python only starts it and takes the few results.

SQL cannot weigh an image. What it can do is to take half of `SizeBytes` where there are two images: right where both
weigh about the same or none is near a step of 1,024 bytes, which is how the recording of this benchmark is made.
"""

import os
import sys
from pathlib import Path
from string import Template
from typing import Final

from bench import flink
from bench.crossings import LIMIT_WCU, OUT_OF_ORDERNESS_MS, STEP_MS, WINDOW_MS, Crossing, report

_SOURCE: Final = Template("""
CREATE TABLE changes (
    `eventName` STRING,
    `tableName` STRING,
    `userIdentity` ROW<`principalId` STRING>,
    `dynamodb` ROW<
        `ApproximateCreationDateTime` BIGINT,
        `Keys` MAP<STRING, MAP<STRING, STRING>>,
        `SizeBytes` BIGINT>,
    `written_at` AS TO_TIMESTAMP_LTZ(
        IF(`dynamodb`.`ApproximateCreationDateTime` > 100000000000000,
            `dynamodb`.`ApproximateCreationDateTime` / 1000,
            `dynamodb`.`ApproximateCreationDateTime`), 3),
    WATERMARK FOR `written_at` AS `written_at` - INTERVAL '$out_of_orderness_s' SECOND
) WITH ('connector' = 'filesystem', 'path' = '$path', 'format' = 'json', 'json.ignore-parse-errors' = 'true')
""")

_WRITE_COSTS: Final = """
CREATE TEMPORARY VIEW write_costs AS
SELECT
    `tableName` AS table_name,
    IF(`tableName` = 'conversations', `dynamodb`.`Keys`['pk']['S'], `dynamodb`.`Keys`['id']['S']) AS partition_key,
    CASE
        WHEN `userIdentity`.`principalId` = 'dynamodb.amazonaws.com' THEN 0
        WHEN `eventName` = 'MODIFY' THEN (`dynamodb`.`SizeBytes` / 2 + 1023) / 1024
        ELSE (`dynamodb`.`SizeBytes` + 1023) / 1024
    END AS wcu,
    `written_at`
FROM changes
"""

_OVER: Final = Template("""
SELECT table_name, partition_key, window_start_s, window_end_s
FROM (
    SELECT
        table_name,
        partition_key,
        EXTRACT(EPOCH FROM window_start) AS window_start_s,
        EXTRACT(EPOCH FROM window_end) AS window_end_s,
        SUM(wcu) AS consumed_wcu
    FROM TABLE(CUMULATE(
        TABLE write_costs, DESCRIPTOR(written_at), INTERVAL '$step_s' SECOND, INTERVAL '$window_s' SECOND(3)))
    GROUP BY table_name, partition_key, window_start, window_end
)
WHERE consumed_wcu >= $limit_wcu
""")


def crossings(recording: Path) -> list[Crossing]:
    """The crossings in a recording."""
    flink.prepare()
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    configuration = Configuration()
    configuration.set_string("parallelism.default", str(flink.PARALLELISM))
    configuration.set_string("taskmanager.numberOfTaskSlots", str(flink.PARALLELISM))
    configuration.set_string("pipeline.object-reuse", "true")
    configuration.set_string("table.local-time-zone", "UTC")
    settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    tables = TableEnvironment.create(settings)
    tables.execute_sql(_SOURCE.substitute(path=recording.resolve(), out_of_orderness_s=OUT_OF_ORDERNESS_MS // 1000))
    tables.execute_sql(_WRITE_COSTS)
    over = _OVER.substitute(step_s=STEP_MS // 1000, window_s=WINDOW_MS // 1000, limit_wcu=LIMIT_WCU)
    first_s: dict[tuple[str, str, int], int] = {}
    with tables.execute_sql(over).collect() as rows:
        for table, partition_key, window_start_s, window_end_s in rows:
            window = (table, partition_key, window_start_s)
            first_s[window] = min(first_s.get(window, window_end_s), window_end_s)
    return [Crossing(table, partition_key, end_s * 1000) for (table, partition_key, _), end_s in first_s.items()]


if __name__ == "__main__":
    report(crossings(Path(sys.argv[1])))
    # PyFlink's threads outlive an ordinary exit.
    os._exit(0)
