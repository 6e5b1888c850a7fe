-- meter: peak_two_minute_rate
-- version: 2
-- description: The most that each partition key consumed in two minutes, when that was first, and what it is a second.
-- param first_date: date, required. The first day, such as 2026-11-01.
-- param last_date: date, required. The last day.
-- param table: text = ''. Only this table; without it all of them.
-- identity: table, partition_key, partition_key_type, two_minute_ms
SELECT
    "table",
    partition_key,
    partition_key_type,
    max_by(two_minute_ms, ROW(wcu, -two_minute_ms)) AS two_minute_ms,
    MAX(wcu) AS peak_wcu,
    CAST(CAST(MAX(wcu) AS DECIMAL(18, 0)) / 120.000 AS DECIMAL(18, 3)) AS peak_wcu_per_s
FROM (
    SELECT "table", partition_key, partition_key_type, two_minute_ms, SUM(wcu) AS wcu
    FROM usage
    WHERE used_date BETWEEN $first_date AND $last_date
        AND "date" >= $first_date
        AND ($table = '' OR "table" = $table)
    GROUP BY "table", partition_key, partition_key_type, two_minute_ms
) AS windows
GROUP BY "table", partition_key, partition_key_type
ORDER BY peak_wcu DESC, "table", partition_key, partition_key_type
