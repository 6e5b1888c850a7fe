-- meter: monthly_write_cost
-- version: 1
-- description: What the writes of each partition key cost in a month, at one price for all.
-- param month: month, required. The month that is billed, such as 2026-11.
-- param price_per_million: decimal = 0.625. Price of a million write capacity units.
-- param table: text = ''. Only this table; without it all of them.
-- identity: table, partition_key, partition_key_type, billed_month
SELECT
    "table",
    partition_key,
    partition_key_type,
    billed_month,
    SUM(wcu) AS wcu,
    SUM(writes) AS writes,
    SUM(bytes_written) AS bytes_written,
    CAST(SUM(wcu) AS DECIMAL(18, 0)) * CAST($price_per_million AS DECIMAL(12, 6)) * 0.000001 AS cost
FROM usage
WHERE billed_month = $month
    AND "date" >= concat($month, '-01')
    AND ($table = '' OR "table" = $table)
GROUP BY "table", partition_key, partition_key_type, billed_month
ORDER BY cost DESC, "table", partition_key, partition_key_type
