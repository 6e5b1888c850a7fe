-- The steps of those windows in which a partition key came near any limit of its table. What a recording holds of a
-- window can be told at once, so the total decides first, and only for these few are there steps to look at.
SELECT
    table_name,
    partition_key,
    partition_key_type,
    window_start_ms + (CAST(SPLIT_INDEX(step, ':', 0) AS BIGINT) + 1) * $step_ms - 1 AS at_ms,
    CAST(SPLIT_INDEX(step, ':', 1) AS BIGINT) AS wcu,
    CAST(SPLIT_INDEX(step, ':', 2) AS BIGINT) AS writes,
    window_start_ms AS low_water_ms
FROM (
    SELECT
        table_name,
        partition_key,
        partition_key_type,
        CAST(EXTRACT(EPOCH FROM window_start) AS BIGINT) * 1000
            + EXTRACT(MILLISECOND FROM window_start) AS window_start_ms,
        LISTAGG(steps, ' ') AS steps
    FROM TABLE(
        TUMBLE(
            TABLE window_sums,
            DESCRIPTOR(written_at),
            INTERVAL '$size_s' SECOND(9, 3)
        )
    )
    GROUP BY table_name, partition_key, partition_key_type, window_start, window_end
    HAVING $sum_is_near_limit
)
CROSS JOIN UNNEST(SPLIT(steps, ' ')) AS each_step (step)
