-- meter: closed_periods
-- version: 1
-- description: For each month and table: what was used and billed in it, what of earlier months it bills, and what later
--   months bill of it because it was closed.
-- identity: table, billed_month
SELECT
    "table",
    months.month AS billed_month,
    MAX(closed.closed_at_ms) AS closed_at_ms,
    SUM(CASE WHEN billed_month = months.month AND used_month = months.month THEN sums.wcu ELSE 0 END) AS wcu_used_and_billed,
    SUM(CASE WHEN billed_month = months.month AND used_month < months.month THEN sums.wcu ELSE 0 END) AS wcu_of_earlier_months,
    SUM(CASE WHEN billed_month = months.month THEN sums.wcu ELSE 0 END) AS wcu_billed,
    SUM(CASE WHEN billed_month > months.month AND used_month = months.month THEN sums.wcu ELSE 0 END) AS wcu_billed_later
FROM (
    SELECT "table", used_month, billed_month, SUM(wcu) AS wcu
    FROM usage
    GROUP BY "table", used_month, billed_month
) AS sums
CROSS JOIN (
    SELECT used_month AS month FROM usage
    UNION
    SELECT billed_month AS month FROM usage
) AS months
LEFT JOIN closed_periods AS closed ON closed.period = months.month
WHERE used_month = months.month OR billed_month = months.month
GROUP BY "table", months.month
ORDER BY billed_month, "table"
