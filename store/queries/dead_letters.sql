-- Retry and purge dead letters. `store/writing/dead_letters.py` runs these queries, some of them among the merges.

-- name: count_matching
SELECT count(*)
FROM dead_letters
WHERE (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(topic)s::text IS NULL OR topic = %(topic)s)
  AND (%(message_id)s::text IS NULL OR message_id = %(message_id)s)
  AND (%(before)s::timestamptz IS NULL OR publish_time < %(before)s)

-- name: next_matching
-- The next rows after a given key, in the order of the key, up to a number of rows and bytes, but at least one row.
WITH next_rows AS (
    SELECT topic, message_id, publish_time, octet_length(payload) AS bytes
    FROM dead_letters
    WHERE (topic, message_id, publish_time)
        > (%(after_topic)s, %(after_message_id)s, micros_to_time(%(after_time_us)s::bigint))
      AND (%(reason)s::text IS NULL OR reason = %(reason)s)
      AND (%(topic)s::text IS NULL OR topic = %(topic)s)
      AND (%(message_id)s::text IS NULL OR message_id = %(message_id)s)
      AND (%(before)s::timestamptz IS NULL OR publish_time < %(before)s)
    ORDER BY topic, message_id, publish_time
    LIMIT %(rows)s
),
bounded AS (
    SELECT
        topic, message_id, publish_time,
        sum(bytes) OVER in_order AS bytes_so_far,
        row_number() OVER in_order AS number
    FROM next_rows
    WINDOW in_order AS (ORDER BY topic, message_id, publish_time)
)
SELECT
    letter.topic, letter.message_id, letter.reason, letter.detail, letter.payload, letter.message_key,
    (extract(epoch FROM letter.publish_time) * 1000000)::bigint AS publish_time_us, letter.schema_version
FROM bounded
JOIN dead_letters AS letter USING (topic, message_id, publish_time)
WHERE bounded.bytes_so_far <= %(bytes)s OR bounded.number = 1
ORDER BY letter.topic, letter.message_id, letter.publish_time

-- name: lock_letters
-- In the order of the key, in which all writers take their rows.
SELECT
FROM dead_letters
WHERE (topic, message_id, publish_time) IN (
    SELECT topic, message_id, micros_to_time(publish_time)
    FROM unnest(%(topics)s::text[], %(message_ids)s::text[], %(publish_times)s::bigint[])
        AS wanted (topic, message_id, publish_time)
)
ORDER BY topic, message_id, publish_time
FOR UPDATE

-- name: remove_letters
DELETE FROM dead_letters
WHERE (topic, message_id, publish_time) IN (
    SELECT topic, message_id, micros_to_time(publish_time)
    FROM unnest(%(topics)s::text[], %(message_ids)s::text[], %(publish_times)s::bigint[])
        AS wanted (topic, message_id, publish_time)
)

-- name: purge_some
WITH doomed AS (
    SELECT topic, message_id, publish_time
    FROM dead_letters
    WHERE (%(reason)s::text IS NULL OR reason = %(reason)s)
      AND (%(topic)s::text IS NULL OR topic = %(topic)s)
      AND (%(message_id)s::text IS NULL OR message_id = %(message_id)s)
      AND (%(before)s::timestamptz IS NULL OR publish_time < %(before)s)
    ORDER BY topic, message_id, publish_time
    LIMIT %(rows)s
    FOR UPDATE
)
DELETE FROM dead_letters AS letter
USING doomed
WHERE (letter.topic, letter.message_id, letter.publish_time) = (doomed.topic, doomed.message_id, doomed.publish_time)
