-- Write capacity units that each partition key consumed, told at the end of every step: with CUMULATE so far in its
-- window, so that a key that goes over its limit is known at the first step end at which its total is there and not when
-- the window ends; with HOP in the window of full size that ends at the step. Totals near no limit of their table stay
-- here.
SELECT
    table_name,
    partition_key,
    partition_key_type,
    CAST(EXTRACT(EPOCH FROM window_start) AS BIGINT) * 1000 + EXTRACT(MILLISECOND FROM window_start) AS window_start_ms,
    CAST(EXTRACT(EPOCH FROM window_end) AS BIGINT) * 1000 + EXTRACT(MILLISECOND FROM window_end) AS step_end_ms,
    consumed_wcu,
    writes
FROM (
    SELECT
        table_name,
        partition_key,
        partition_key_type,
        window_start,
        window_end,
        SUM(wcu) AS consumed_wcu,
        SUM(writes) AS writes
    FROM TABLE(
        $window_function(
            TABLE write_costs,
            DESCRIPTOR(written_at),
            INTERVAL '$step_s' SECOND(9, 3),
            INTERVAL '$size_s' SECOND(9, 3)))
    GROUP BY table_name, partition_key, partition_key_type, window_start, window_end
)
WHERE $total_is_near_limit
