-- What each partition key consumed in each minute, told once when the minute is over: by event name, and apart for each
-- earlier minute that late changes correct. `usage_facts` are sums of readers, which count every copy of a change, and
-- what is taken away again for the copies; a sum of no changes is no row.
SELECT
    table_name,
    partition_key,
    partition_key_type,
    window_start_ms,
    event_name,
    corrects_ms,
    SUM(wcu) AS wcu,
    SUM(writes) AS writes,
    SUM(bytes_written) AS bytes_written
FROM TABLE(TUMBLE(TABLE usage_facts, DESCRIPTOR(counted_at), INTERVAL '1' MINUTE))
GROUP BY table_name, partition_key, partition_key_type, window_start_ms, event_name, corrects_ms, window_start, window_end
HAVING SUM(changes) > 0
