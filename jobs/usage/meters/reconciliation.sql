-- meter: reconciliation
-- version: 2
-- description: The ledger beside CloudWatch's ConsumedWriteCapacityUnits, for each table and day, with the gap and what it
--   is likely to be.
-- needs: consumed_capacity
-- param first_date: date, required. The first day, such as 2026-11-01.
-- param last_date: date, required. The last day.
-- param alarm_ratio: decimal = 0.05. From which part of what CloudWatch counted a gap is an alarm.
-- identity: table, used_date
SELECT
    COALESCE(cloudwatch."table", counted."table") AS "table",
    COALESCE(cloudwatch."date", counted.used_date) AS used_date,
    cloudwatch.wcu AS cloudwatch_wcu,
    COALESCE(counted.wcu, 0) AS ledger_wcu,
    cloudwatch.wcu - COALESCE(counted.wcu, 0) AS gap_wcu,
    -- Athena gives a quotient as many decimals as the longer of both has.
    CAST((cloudwatch.wcu - COALESCE(counted.wcu, 0)) * 1.000000 / NULLIF(cloudwatch.wcu, 0) AS DECIMAL(18, 6)) AS gap_ratio,
    CASE
        WHEN cloudwatch.wcu IS NULL THEN false
        WHEN cloudwatch.wcu = 0 THEN COALESCE(counted.wcu, 0) > 0
        ELSE abs(cloudwatch.wcu - COALESCE(counted.wcu, 0)) >= cloudwatch.wcu * CAST($alarm_ratio AS DECIMAL(12, 6))
    END AS alarm,
    CASE
        WHEN cloudwatch.wcu IS NULL THEN 'CloudWatch has no figure for this day'
        WHEN cloudwatch.wcu < COALESCE(counted.wcu, 0)
            THEN 'the ledger has more: duplicates beyond the horizon, a table wrongly set as transactional, or a time zone'
        WHEN COALESCE(counted.wcu, 0) = 0 AND cloudwatch.wcu > 0
            THEN 'nothing in the ledger: its change stream is off, or its records are malformed'
        WHEN cloudwatch.wcu >= 2 * counted.wcu
            THEN 'twice the ledger or more: transactions (set transactional), or much of the stream is missing'
        WHEN cloudwatch.wcu > counted.wcu
            THEN 'failed conditional writes, writes that change nothing, local index writes, or transactions'
        ELSE 'none'
    END AS likely_cause
FROM (
    SELECT "table", used_date, CAST(SUM(wcu) AS DECIMAL(18, 0)) AS wcu
    FROM usage
    WHERE used_date BETWEEN $first_date AND $last_date AND "date" >= $first_date
    GROUP BY "table", used_date
) AS counted
FULL JOIN (
    SELECT "table", "date", CAST(wcu AS DECIMAL(18, 3)) AS wcu
    FROM consumed_capacity
    WHERE "date" BETWEEN $first_date AND $last_date
) AS cloudwatch ON cloudwatch."table" = counted."table" AND cloudwatch."date" = counted.used_date
ORDER BY used_date, "table"
