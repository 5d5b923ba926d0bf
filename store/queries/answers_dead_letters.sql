-- Dead letters: messages that are not valid events.

-- name: counts_by_reason
SELECT reason, count(*) AS messages, max(publish_time) AS last_published_at
FROM dead_letters
WHERE (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(topic)s::text IS NULL OR topic = %(topic)s)
  AND (%(since)s::timestamptz IS NULL OR publish_time >= %(since)s)
GROUP BY reason
ORDER BY messages DESC, reason;

-- name: newest_letters
SELECT
    topic, message_id, reason, detail, octet_length(payload) AS payload_bytes, message_key,
    publish_time AS published_at, schema_version
FROM dead_letters
WHERE (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(topic)s::text IS NULL OR topic = %(topic)s)
  AND (%(since)s::timestamptz IS NULL OR publish_time >= %(since)s)
ORDER BY publish_time DESC, topic, message_id
LIMIT %(limit)s;

-- name: letters_by_id
-- Several rows if the broker was set up again, or if several topics have the message id.
SELECT topic, message_id, reason, detail, payload, message_key, publish_time AS published_at, schema_version
FROM dead_letters
WHERE message_id = ANY(%(message_ids)s)
  AND (%(topic)s::text IS NULL OR topic = %(topic)s)
ORDER BY publish_time DESC, topic
LIMIT 2;
