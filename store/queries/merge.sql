-- Write one batch: these statements in this order, the aggregates last. `store/writing/writer.py` runs them. Every statement
-- takes its rows in the order of the key, so that two writers never wait for each other in a circle. The namespace comes last in
-- that order: it is nearly always the same, so sorting compares what differs first.

-- name: read_horizon
-- Also the version of the fingerprint: since this session began, a rebuild may have replaced the tables.
SELECT
    CASE WHEN horizon_at = '-infinity' THEN NULL ELSE (extract(epoch FROM horizon_at) * 1000000)::bigint END,
    (SELECT fingerprint_version FROM derivation)
FROM jobtrail_control.horizon

-- name: read_fingerprint_version
SELECT fingerprint_version
FROM derivation

-- name: lock_known_jobs
-- Those of the jobs that exist, each with the time of its earliest event (NULL: not known), locked in the order of
-- `merge_jobs` so that none is removed before the merge. One lookup by the key for each: a join might read the table.
SELECT
    stored.job_id, stored.namespace,
    CASE WHEN stored.earliest_at <> '-infinity' THEN (extract(epoch FROM stored.earliest_at) * 1000000)::bigint END
FROM (
    SELECT job_id, namespace
    FROM unnest(%(job_ids)s::text[], %(namespaces)s::text[]) AS asked (job_id, namespace)
    ORDER BY job_id COLLATE "C", namespace COLLATE "C"
) AS late
CROSS JOIN LATERAL (
    SELECT job_id, namespace, earliest_at
    FROM jobs
    WHERE jobs.job_id = late.job_id AND jobs.namespace = late.namespace
    FOR UPDATE
) AS stored

-- name: merge_jobs
-- Return how many of these jobs have a repeated attempt.
WITH merged AS (
    INSERT INTO jobs AS stored (
        namespace, job_id, attempt, state_rank, occurred_at, state, worker, queue, max_attempts, scheduled_at, release,
        executor, error_category, error_type, failure_group_id, enqueued_at, started_at, source, external_id, root_job_id,
        parent_job_id, depth, expected_children, meta, args, args_attempt, args_rank, args_occurred_at,
        latest_at, earliest_at, is_repeated
    )
    SELECT
        namespace, job_id, attempt, state_rank, micros_to_time(occurred_at), state, worker, queue, max_attempts,
        micros_to_time(nullif(scheduled_at, 0)), release, executor, error_category, error_type,
        nullif(failure_group_id, '')::uuid, micros_to_time(nullif(enqueued_at, 0)), micros_to_time(nullif(started_at, 0)),
        nullif(source, ''), nullif(external_id, ''), root_job_id, parent_job_id, depth,
        nullif(expected_children, '')::jsonb, nullif(meta, '')::jsonb, nullif(args, ''),
        CASE WHEN args <> '' THEN args_attempt END, CASE WHEN args <> '' THEN args_rank END,
        CASE WHEN args <> '' THEN micros_to_time(args_occurred_at) END, micros_to_time(latest_at),
        micros_to_time(earliest_at), nullif(is_repeated, false)
    FROM stage_jobs
    ORDER BY job_id, namespace
    ON CONFLICT (namespace, job_id) DO UPDATE SET
        attempt = greatest(stored.attempt, excluded.attempt),
        state_rank = CASE WHEN is_later(excluded, stored) THEN excluded.state_rank ELSE stored.state_rank END,
        occurred_at = CASE WHEN is_later(excluded, stored) THEN excluded.occurred_at ELSE stored.occurred_at END,
        state = CASE WHEN is_later(excluded, stored) THEN excluded.state ELSE stored.state END,
        worker = CASE WHEN is_later(excluded, stored) THEN excluded.worker ELSE stored.worker END,
        queue = CASE WHEN is_later(excluded, stored) THEN excluded.queue ELSE stored.queue END,
        max_attempts = CASE WHEN is_later(excluded, stored) THEN excluded.max_attempts ELSE stored.max_attempts END,
        scheduled_at = CASE WHEN is_later(excluded, stored) THEN excluded.scheduled_at ELSE stored.scheduled_at END,
        release = CASE WHEN is_later(excluded, stored) THEN excluded.release ELSE stored.release END,
        executor = CASE WHEN is_later(excluded, stored) THEN excluded.executor ELSE stored.executor END,
        error_category = CASE WHEN is_later(excluded, stored) THEN excluded.error_category ELSE stored.error_category END,
        error_type = CASE WHEN is_later(excluded, stored) THEN excluded.error_type ELSE stored.error_type END,
        failure_group_id = CASE
            WHEN is_later(excluded, stored) THEN excluded.failure_group_id ELSE stored.failure_group_id
        END,
        latest_at = greatest(stored.latest_at, excluded.latest_at),
        earliest_at = least(stored.earliest_at, excluded.earliest_at),
        is_repeated = CASE
            WHEN excluded.attempt > stored.attempt THEN excluded.is_repeated
            WHEN excluded.attempt < stored.attempt THEN stored.is_repeated
            WHEN stored.is_repeated OR excluded.is_repeated OR contradicts(excluded, stored) THEN true
        END,
        -- LEAST ignores NULL: a value wins over none, and the lesser of two values wins.
        enqueued_at = CASE
            WHEN excluded.attempt > stored.attempt THEN excluded.enqueued_at
            WHEN excluded.attempt = stored.attempt THEN least(stored.enqueued_at, excluded.enqueued_at)
            ELSE stored.enqueued_at
        END,
        started_at = CASE
            WHEN excluded.attempt > stored.attempt THEN excluded.started_at
            WHEN excluded.attempt = stored.attempt THEN least(stored.started_at, excluded.started_at)
            ELSE stored.started_at
        END,
        source = least(stored.source, excluded.source),
        external_id = least(stored.external_id, excluded.external_id),
        root_job_id = CASE WHEN is_lesser_place(excluded, stored) THEN excluded.root_job_id ELSE stored.root_job_id END,
        parent_job_id = CASE
            WHEN is_lesser_place(excluded, stored) THEN excluded.parent_job_id ELSE stored.parent_job_id
        END,
        depth = CASE WHEN is_lesser_place(excluded, stored) THEN excluded.depth ELSE stored.depth END,
        expected_children = CASE
            WHEN excluded.expected_children IS NULL THEN stored.expected_children
            WHEN stored.expected_children IS NULL THEN excluded.expected_children
            ELSE merge_counts(stored.expected_children, excluded.expected_children)
        END,
        meta = CASE
            WHEN excluded.meta IS NULL THEN stored.meta
            WHEN stored.meta IS NULL THEN excluded.meta
            ELSE merge_texts(stored.meta, excluded.meta)
        END,
        args = CASE WHEN has_later_args(excluded, stored) THEN excluded.args ELSE stored.args END,
        args_attempt = CASE
            WHEN has_later_args(excluded, stored) THEN excluded.args_attempt ELSE stored.args_attempt
        END,
        args_rank = CASE WHEN has_later_args(excluded, stored) THEN excluded.args_rank ELSE stored.args_rank END,
        args_occurred_at = CASE
            WHEN has_later_args(excluded, stored) THEN excluded.args_occurred_at ELSE stored.args_occurred_at
        END
    RETURNING is_repeated
)
SELECT count(is_repeated)
FROM merged

-- name: merge_edges
INSERT INTO lineage_edges (namespace, upstream_job_id, kind, job_id)
SELECT namespace, upstream_job_id, kind, job_id
FROM stage_edges
ORDER BY upstream_job_id, job_id, kind, namespace
ON CONFLICT DO NOTHING

-- name: merge_dead_letters
INSERT INTO dead_letters (topic, message_id, reason, detail, payload, message_key, publish_time, schema_version)
SELECT topic, message_id, reason, detail, payload, message_key, micros_to_time(publish_time), schema_version
FROM stage_dead_letters
ORDER BY topic, message_id, publish_time
ON CONFLICT DO NOTHING

-- name: merge_attempts
WITH added AS (
    INSERT INTO attempts (
        namespace, job_id, attempt, finished_at, digest, state, worker, queue, source, max_attempts, enqueued_at,
        scheduled_at, started_at, external_id, release, executor, failure_group_id, error_category, error_type,
        error_message, error_stacktrace, error_origin, error_fingerprint
    )
    SELECT
        namespace, job_id, attempt, micros_to_time(finished_at), digest, state, worker, queue, source, max_attempts,
        micros_to_time(nullif(enqueued_at, 0)), micros_to_time(nullif(scheduled_at, 0)),
        micros_to_time(nullif(started_at, 0)), external_id, release, executor, nullif(failure_group_id, '')::uuid,
        CASE WHEN has_error THEN error_category END, CASE WHEN has_error THEN error_type END,
        CASE WHEN has_error THEN error_message END, CASE WHEN has_error THEN error_stacktrace END,
        CASE WHEN has_error THEN error_origin END, CASE WHEN has_error THEN error_fingerprint END
    FROM stage_attempts
    ORDER BY job_id, attempt, finished_at, digest, namespace
    ON CONFLICT DO NOTHING
    RETURNING namespace, job_id, finished_at, state, worker, queue, source, failure_group_id
)
INSERT INTO added_attempts (namespace, job_id, finished_at, state, worker, queue, source, failure_group_id)
SELECT namespace, job_id, finished_at, state, worker, queue, source, failure_group_id
FROM added

-- name: merge_group_jobs
WITH added AS (
    INSERT INTO failure_group_jobs AS stored (failure_group_id, job_id, last_finished_at)
    SELECT failure_group_id, job_id, max(finished_at)
    FROM added_attempts
    WHERE failure_group_id IS NOT NULL
    GROUP BY failure_group_id, job_id
    ORDER BY failure_group_id, job_id
    ON CONFLICT (failure_group_id, job_id) DO UPDATE SET
        last_finished_at = greatest(stored.last_finished_at, excluded.last_finished_at)
    -- An updated row was locked before, and its new version has the locker in xmax; an inserted row has none.
    RETURNING failure_group_id, xmax = 0 AS is_new
)
INSERT INTO added_group_jobs (failure_group_id)
SELECT failure_group_id
FROM added
WHERE is_new

-- name: add_to_failure_groups
WITH occurrences AS (
    SELECT failure_group_id, count(*) AS occurrence_count, min(finished_at) AS first, max(finished_at) AS last
    FROM added_attempts
    WHERE failure_group_id IS NOT NULL
    GROUP BY failure_group_id
),
jobs_met AS (
    SELECT failure_group_id, count(*) AS job_count
    FROM added_group_jobs
    GROUP BY failure_group_id
),
described AS (
    SELECT id, namespace, source, error_category, error_type, fingerprint, min(title) AS title
    FROM stage_groups
    GROUP BY id, namespace, source, error_category, error_type, fingerprint
)
INSERT INTO failure_groups AS stored (
    id, namespace, source, error_category, error_type, fingerprint, title, occurrence_count, job_count, first_seen_at,
    last_seen_at
)
SELECT
    described.id, namespace, source, error_category, error_type, fingerprint, title, occurrences.occurrence_count,
    coalesce(jobs_met.job_count, 0), occurrences.first, occurrences.last
FROM described
JOIN occurrences ON occurrences.failure_group_id = described.id
LEFT JOIN jobs_met ON jobs_met.failure_group_id = described.id
ORDER BY described.id
ON CONFLICT (id) DO UPDATE SET
    title = least(stored.title, excluded.title),
    occurrence_count = stored.occurrence_count + excluded.occurrence_count,
    job_count = stored.job_count + excluded.job_count,
    first_seen_at = least(stored.first_seen_at, excluded.first_seen_at),
    last_seen_at = greatest(stored.last_seen_at, excluded.last_seen_at)

-- name: add_to_failure_groups_hourly
INSERT INTO failure_groups_hourly AS stored (failure_group_id, hour, occurrence_count, title)
SELECT occurrences.failure_group_id, occurrences.hour, occurrences.occurrence_count, stage_groups.title
FROM (
    SELECT failure_group_id, date_trunc('hour', finished_at, 'UTC') AS hour, count(*) AS occurrence_count
    FROM added_attempts
    WHERE failure_group_id IS NOT NULL
    GROUP BY failure_group_id, hour
) AS occurrences
JOIN stage_groups
    ON stage_groups.id = occurrences.failure_group_id
    AND micros_to_time(stage_groups.hour) = occurrences.hour
ORDER BY occurrences.failure_group_id, occurrences.hour
ON CONFLICT (failure_group_id, hour) DO UPDATE SET
    occurrence_count = stored.occurrence_count + excluded.occurrence_count,
    title = least(stored.title, excluded.title)

-- name: add_to_outcomes_hourly
INSERT INTO outcomes_hourly AS stored (
    namespace, source, worker, queue, hour, completed, retryable, discarded, cancelled
)
SELECT
    namespace, source, worker, queue, date_trunc('hour', finished_at, 'UTC') AS hour,
    count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE state = 'retryable'),
    count(*) FILTER (WHERE state = 'discarded'), count(*) FILTER (WHERE state = 'cancelled')
FROM added_attempts
GROUP BY namespace, source, worker, queue, hour
ORDER BY namespace, source, worker, queue, hour
ON CONFLICT (namespace, source, worker, queue, hour) DO UPDATE SET
    completed = stored.completed + excluded.completed,
    retryable = stored.retryable + excluded.retryable,
    discarded = stored.discarded + excluded.discarded,
    cancelled = stored.cancelled + excluded.cancelled
