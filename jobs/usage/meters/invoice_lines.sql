-- meter: invoice_lines
-- version: 2
-- description: A line for each partition key, unit and tier of the price table that its usage of a month reaches. Where
--   corrections of closed months take away more than was used, that is a line of the first tier.
-- needs: prices
-- param month: month, required. The month that is billed, such as 2026-11.
-- param table: text = ''. Only this table; without it all of them.
-- identity: table, partition_key, partition_key_type, billed_month
SELECT
    used."table",
    used.partition_key,
    used.partition_key_type,
    used.billed_month,
    prices.unit,
    prices.tier,
    LEAST(used.units, COALESCE(prices.up_to, used.units)) - prices.above AS units,
    used.units AS units_in_all,
    used.units_of_earlier_months,
    prices.price,
    prices.per,
    prices.currency,
    CAST(LEAST(used.units, COALESCE(prices.up_to, used.units)) - prices.above AS DECIMAL(18, 0))
        * prices.price_of_one AS amount
FROM (
    SELECT
        sums."table",
        sums.partition_key,
        sums.partition_key_type,
        sums.billed_month,
        units.unit,
        CAST(CASE units.unit WHEN 'wcu' THEN wcu WHEN 'writes' THEN writes ELSE bytes_written END AS BIGINT) AS units,
        CAST(CASE units.unit WHEN 'wcu' THEN earlier_wcu WHEN 'writes' THEN earlier_writes ELSE earlier_bytes END AS BIGINT)
            AS units_of_earlier_months
    FROM (
        SELECT
            "table",
            partition_key,
            partition_key_type,
            billed_month,
            SUM(wcu) AS wcu,
            SUM(writes) AS writes,
            SUM(bytes_written) AS bytes_written,
            SUM(CASE WHEN used_month < billed_month THEN wcu ELSE 0 END) AS earlier_wcu,
            SUM(CASE WHEN used_month < billed_month THEN writes ELSE 0 END) AS earlier_writes,
            SUM(CASE WHEN used_month < billed_month THEN bytes_written ELSE 0 END) AS earlier_bytes
        FROM usage
        WHERE billed_month = $month
            AND "date" >= concat($month, '-01')
            AND ($table = '' OR "table" = $table)
        GROUP BY "table", partition_key, partition_key_type, billed_month
    ) AS sums
    CROSS JOIN (SELECT DISTINCT unit FROM prices) AS units
) AS used
JOIN prices ON prices.unit = used.unit AND (used.units > prices.above OR (used.units < 0 AND prices.tier = 1))
ORDER BY used."table", used.partition_key, used.partition_key_type, prices.unit, prices.tier
