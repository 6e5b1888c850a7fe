-- The ledger with the times that bills are made by. A correction belongs to the minute that it corrects (`used_ms`), and
-- is billed with it, unless the month of that minute was closed by the time the correction became known: then it is
-- billed in the month in which it became known. `month_is_closed` tells of the month that a row was used in.
SELECT
    timed."table",
    timed."date",
    timed."hour",
    timed.partition_key,
    timed.partition_key_type,
    timed.event_name,
    timed.window_start_ms,
    timed.corrects,
    timed.used_ms,
    timed.used_ms - timed.used_ms % 120000 AS two_minute_ms,
    timed.used_date,
    substr(timed.used_date, 1, 7) AS used_month,
    CASE
        WHEN closed.closed_at_ms IS NOT NULL AND timed.corrects IS NOT NULL AND timed.window_start_ms >= closed.closed_at_ms
            THEN substr(timed."date", 1, 7)
        ELSE substr(timed.used_date, 1, 7)
    END AS billed_month,
    timed.wcu,
    timed.writes,
    timed.bytes_written,
    timed.lower_bounds
FROM (
    SELECT
        ledger.*,
        COALESCE(corrects, window_start_ms) AS used_ms,
        CASE
            WHEN corrects IS NULL THEN "date"
            ELSE substr(
                CAST(
                    DATE '1970-01-01' + INTERVAL '1' DAY * CAST((corrects - corrects % 86400000) / 86400000 AS BIGINT)
                    AS VARCHAR),
                1, 10)
        END AS used_date
    FROM ledger
) AS timed
LEFT JOIN closed_periods AS closed ON closed.period = substr(timed.used_date, 1, 7)
