-- meter: top_keys
-- version: 1
-- description: The partition keys that consumed most, with their shares of their tables.
-- param first_date: date, required. The first day, such as 2026-11-01.
-- param last_date: date, required. The last day.
-- param most: integer = 20. How many of each table.
-- identity: table, partition_key, partition_key_type
SELECT "table", partition_key, partition_key_type, wcu, writes, bytes_written, share
FROM (
    SELECT
        keys.*,
        CAST(CAST(wcu AS DOUBLE) / NULLIF(SUM(wcu) OVER (PARTITION BY "table"), 0) AS DECIMAL(7, 6)) AS share,
        ROW_NUMBER() OVER (PARTITION BY "table" ORDER BY wcu DESC, partition_key, partition_key_type) AS place
    FROM (
        SELECT
            "table",
            partition_key,
            partition_key_type,
            SUM(wcu) AS wcu,
            SUM(writes) AS writes,
            SUM(bytes_written) AS bytes_written
        FROM usage
        WHERE used_date BETWEEN $first_date AND $last_date AND "date" >= $first_date
        GROUP BY "table", partition_key, partition_key_type
    ) AS keys
) AS ranked
WHERE place <= CAST($most AS BIGINT)
ORDER BY "table", place
