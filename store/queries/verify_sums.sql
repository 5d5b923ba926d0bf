-- Compare the aggregates with a `GROUP BY` over `attempts`. Every query returns the rows that differ, as
-- (table_name, key, stored, expected); NULL for a missing row.

-- name: outcomes_hourly
-- The hours from one time up to, but not including, another (NULL: to the end).
WITH counted AS (
    SELECT
        namespace, source, worker, queue, date_trunc('hour', finished_at, 'UTC') AS hour,
        count(*) FILTER (WHERE state = 'completed') AS completed,
        count(*) FILTER (WHERE state = 'retryable') AS retryable,
        count(*) FILTER (WHERE state = 'discarded') AS discarded,
        count(*) FILTER (WHERE state = 'cancelled') AS cancelled
    FROM attempts
    WHERE finished_at >= %(from_time)s::timestamptz
      AND (%(to_time)s::timestamptz IS NULL OR finished_at < %(to_time)s)
    GROUP BY namespace, source, worker, queue, hour
),
stored AS (
    SELECT namespace, source, worker, queue, hour, completed, retryable, discarded, cancelled
    FROM outcomes_hourly
    WHERE hour >= %(from_time)s::timestamptz
      AND (%(to_time)s::timestamptz IS NULL OR hour < %(to_time)s)
)
SELECT
    'outcomes_hourly' AS table_name,
    json_build_object('namespace', namespace, 'source', source, 'worker', worker, 'queue', queue, 'hour', hour) AS key,
    CASE WHEN stored.completed IS NOT NULL THEN jsonb_build_object(
        'completed', stored.completed, 'retryable', stored.retryable,
        'discarded', stored.discarded, 'cancelled', stored.cancelled
    ) END AS stored,
    CASE WHEN counted.completed IS NOT NULL THEN jsonb_build_object(
        'completed', counted.completed, 'retryable', counted.retryable,
        'discarded', counted.discarded, 'cancelled', counted.cancelled
    ) END AS expected
FROM stored
FULL JOIN counted USING (namespace, source, worker, queue, hour)
WHERE (stored.completed, stored.retryable, stored.discarded, stored.cancelled)
    IS DISTINCT FROM (counted.completed, counted.retryable, counted.discarded, counted.cancelled)
ORDER BY hour, namespace, source, worker, queue;

-- name: failure_groups_hourly
WITH counted AS (
    SELECT failure_group_id, date_trunc('hour', finished_at, 'UTC') AS hour, count(*) AS occurrence_count
    FROM attempts
    WHERE finished_at >= %(from_time)s::timestamptz
      AND (%(to_time)s::timestamptz IS NULL OR finished_at < %(to_time)s)
      AND failure_group_id IS NOT NULL
    GROUP BY failure_group_id, hour
),
stored AS (
    SELECT failure_group_id, hour, occurrence_count
    FROM failure_groups_hourly
    WHERE hour >= %(from_time)s::timestamptz
      AND (%(to_time)s::timestamptz IS NULL OR hour < %(to_time)s)
)
SELECT
    'failure_groups_hourly' AS table_name,
    json_build_object('failure_group_id', failure_group_id, 'hour', hour) AS key,
    CASE WHEN stored.occurrence_count IS NOT NULL
        THEN jsonb_build_object('occurrence_count', stored.occurrence_count) END AS stored,
    CASE WHEN counted.occurrence_count IS NOT NULL
        THEN jsonb_build_object('occurrence_count', counted.occurrence_count) END AS expected
FROM stored
FULL JOIN counted USING (failure_group_id, hour)
WHERE stored.occurrence_count IS DISTINCT FROM counted.occurrence_count
ORDER BY hour, failure_group_id;

-- name: failure_groups
-- The groups after one id, up to and including another (NULL: from the first, to the last). Namespace, source, category and type
-- of a group are those of each of its failures. If the failures differ, one that differs from the stored value is expected.
WITH counted AS (
    SELECT
        failure_group_id AS id,
        min(namespace) AS least_namespace, max(namespace) AS greatest_namespace,
        min(source) AS least_source, max(source) AS greatest_source,
        min(coalesce(error_category, '')) AS least_category, max(coalesce(error_category, '')) AS greatest_category,
        min(coalesce(error_type, '')) AS least_type, max(coalesce(error_type, '')) AS greatest_type,
        count(*) AS occurrence_count,
        count(DISTINCT job_id) AS job_count,
        min(finished_at) AS first_seen_at,
        max(finished_at) AS last_seen_at
    FROM attempts
    WHERE failure_group_id IS NOT NULL
      AND (%(after_id)s::uuid IS NULL OR failure_group_id > %(after_id)s)
      AND (%(last_id)s::uuid IS NULL OR failure_group_id <= %(last_id)s)
    GROUP BY failure_group_id
),
stored AS (
    SELECT id, namespace, source, error_category, error_type, occurrence_count, job_count, first_seen_at, last_seen_at
    FROM failure_groups
    WHERE (%(after_id)s::uuid IS NULL OR id > %(after_id)s)
      AND (%(last_id)s::uuid IS NULL OR id <= %(last_id)s)
),
compared AS (
    SELECT
        id,
        CASE WHEN stored.namespace IS NOT NULL THEN jsonb_build_object(
            'namespace', stored.namespace, 'source', stored.source,
            'error_category', stored.error_category, 'error_type', stored.error_type,
            'occurrence_count', stored.occurrence_count, 'job_count', stored.job_count,
            'first_seen_at', stored.first_seen_at, 'last_seen_at', stored.last_seen_at
        ) END AS stored,
        CASE WHEN counted.occurrence_count IS NOT NULL THEN jsonb_build_object(
            'namespace', CASE WHEN least_namespace = stored.namespace THEN greatest_namespace ELSE least_namespace END,
            'source', CASE WHEN least_source = stored.source THEN greatest_source ELSE least_source END,
            'error_category',
            CASE WHEN least_category = stored.error_category THEN greatest_category ELSE least_category END,
            'error_type', CASE WHEN least_type = stored.error_type THEN greatest_type ELSE least_type END,
            'occurrence_count', counted.occurrence_count, 'job_count', counted.job_count,
            'first_seen_at', counted.first_seen_at, 'last_seen_at', counted.last_seen_at
        ) END AS expected
    FROM stored
    FULL JOIN counted USING (id)
)
SELECT 'failure_groups' AS table_name, json_build_object('id', id) AS key, stored, expected
FROM compared
WHERE stored IS DISTINCT FROM expected
ORDER BY id;

-- name: failure_group_jobs
WITH met AS (
    SELECT failure_group_id, job_id, max(finished_at) AS last_finished_at
    FROM attempts
    WHERE failure_group_id IS NOT NULL
      AND (%(after_id)s::uuid IS NULL OR failure_group_id > %(after_id)s)
      AND (%(last_id)s::uuid IS NULL OR failure_group_id <= %(last_id)s)
    GROUP BY failure_group_id, job_id
),
stored AS (
    SELECT failure_group_id, job_id, last_finished_at
    FROM failure_group_jobs
    WHERE (%(after_id)s::uuid IS NULL OR failure_group_id > %(after_id)s)
      AND (%(last_id)s::uuid IS NULL OR failure_group_id <= %(last_id)s)
)
SELECT
    'failure_group_jobs' AS table_name,
    json_build_object('failure_group_id', failure_group_id, 'job_id', job_id) AS key,
    CASE WHEN stored.last_finished_at IS NOT NULL
        THEN jsonb_build_object('last_finished_at', stored.last_finished_at) END AS stored,
    CASE WHEN met.last_finished_at IS NOT NULL
        THEN jsonb_build_object('last_finished_at', met.last_finished_at) END AS expected
FROM stored
FULL JOIN met USING (failure_group_id, job_id)
WHERE stored.last_finished_at IS DISTINCT FROM met.last_finished_at
ORDER BY failure_group_id, job_id;

-- name: failures
-- The values that name the failures of these groups: group by group, and hour by hour within a group.
WITH failure AS (
    SELECT
        failure_group_id, date_trunc('hour', finished_at, 'UTC') AS hour, namespace, source,
        coalesce(error_category, '') AS category, coalesce(error_type, '') AS type,
        coalesce(error_message, '') AS message, coalesce(error_origin, '') AS origin,
        coalesce(error_fingerprint, '') AS own
    FROM attempts
    WHERE failure_group_id IS NOT NULL
      AND (%(after_id)s::uuid IS NULL OR failure_group_id > %(after_id)s)
      AND (%(last_id)s::uuid IS NULL OR failure_group_id <= %(last_id)s)
)
SELECT
    failure.failure_group_id, to_jsonb(hour) #>> '{}' AS hour, failure.namespace, failure.source, failure.category,
    failure.type, failure.message, failure.origin, failure.own, stored.fingerprint, stored.title, hourly.title
FROM failure
JOIN failure_groups AS stored
    ON stored.id = failure.failure_group_id
LEFT JOIN failure_groups_hourly AS hourly
    USING (failure_group_id, hour)
ORDER BY failure.failure_group_id, failure.hour;
