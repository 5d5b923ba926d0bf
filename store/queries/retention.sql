-- Retention: advance the horizons and delete what is expired. `store/retention/` runs these queries. They lock tables in
-- the order of the writers. They skip rows that others hold, and wait for other locks only briefly.

-- name: set_lock_timeout
SELECT set_config('lock_timeout', %(milliseconds)s::text, true)

-- name: read_state
-- The days of both horizons, the days up to which expired data are deleted (NULL: minus infinity), today by the database's
-- clock, and which tables these are: a rebuild's swap replaces them.
SELECT
    CASE WHEN horizon_at <> '-infinity' THEN (horizon_at AT TIME ZONE 'UTC')::date END,
    CASE WHEN open_horizon_at <> '-infinity' THEN (open_horizon_at AT TIME ZONE 'UTC')::date END,
    CASE WHEN cleared_before <> '-infinity' THEN (cleared_before AT TIME ZONE 'UTC')::date END,
    CASE WHEN cleared_open_before <> '-infinity' THEN (cleared_open_before AT TIME ZONE 'UTC')::date END,
    (now() AT TIME ZONE 'UTC')::date,
    'jobs'::regclass::oid
FROM jobtrail_control.horizon, derivation

-- name: read_horizon_day
SELECT CASE WHEN horizon_at <> '-infinity' THEN (horizon_at AT TIME ZONE 'UTC')::date END
FROM jobtrail_control.horizon

-- name: advance_horizons
-- Both in one statement. Neither moves back.
UPDATE jobtrail_control.horizon
SET
    horizon_at = greatest(horizon_at, %(horizon)s),
    open_horizon_at = greatest(open_horizon_at, %(open_horizon)s)
WHERE horizon_at < %(horizon)s OR open_horizon_at < %(open_horizon)s

-- name: note_cleared
UPDATE derivation
SET
    cleared_before = greatest(cleared_before, %(horizon)s),
    cleared_open_before = greatest(cleared_open_before, %(open_horizon)s)
WHERE 'jobs'::regclass::oid = %(tables)s

-- name: has_partition
-- Asks the table pg_class, not to_regclass(): that keeps in its cache what was not there before the session waited for a lock.
SELECT EXISTS (
    SELECT
    FROM pg_class
    WHERE relname = %(name)s
      AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'attempts'::regclass)
)

-- name: day_partitions
SELECT relname::text
FROM pg_inherits
JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'attempts'::regclass AND relname ~ '^attempts_[0-9]{8}$'
ORDER BY relname

-- name: stray_hours
-- Rows of days without a partition, from before a time: how many in each hour.
SELECT date_trunc('hour', finished_at, 'UTC') AS hour, count(*)
FROM attempts_default
WHERE finished_at < %(before)s
GROUP BY hour
ORDER BY hour

-- name: failures_of_day
SELECT failure_group_id, count(*)
FROM attempts
WHERE failure_group_id IS NOT NULL AND finished_at >= %(first)s AND finished_at < %(before)s
GROUP BY failure_group_id
ORDER BY count(*) DESC, failure_group_id

-- name: hours_of_group
SELECT date_trunc('hour', finished_at, 'UTC') AS hour, count(*)
FROM attempts
WHERE failure_group_id = %(group)s AND finished_at >= %(first)s AND finished_at < %(before)s
GROUP BY hour
ORDER BY hour

-- name: copy_failures_of_day
INSERT INTO expired_attempts (namespace, job_id, finished_at, state, worker, queue, source, failure_group_id)
SELECT namespace, job_id, finished_at, state, worker, queue, source, failure_group_id
FROM attempts
WHERE failure_group_id IS NOT NULL AND finished_at >= %(first)s AND finished_at < %(before)s

-- name: lock_attempts
LOCK TABLE ONLY attempts IN ACCESS EXCLUSIVE MODE

-- name: remove_stray_attempts
WITH removed AS (
    DELETE FROM attempts_default
    WHERE finished_at >= %(first)s AND finished_at < %(before)s
    RETURNING namespace, job_id, finished_at, state, worker, queue, source, failure_group_id
)
INSERT INTO expired_attempts (namespace, job_id, finished_at, state, worker, queue, source, failure_group_id)
SELECT namespace, job_id, finished_at, state, worker, queue, source, failure_group_id
FROM removed

-- name: remove_failures_of_groups
WITH removed AS (
    DELETE FROM attempts
    WHERE failure_group_id = ANY (%(groups)s) AND finished_at >= %(first)s AND finished_at < %(before)s
    RETURNING namespace, job_id, finished_at, state, worker, queue, source, failure_group_id
)
INSERT INTO expired_attempts (namespace, job_id, finished_at, state, worker, queue, source, failure_group_id)
SELECT namespace, job_id, finished_at, state, worker, queue, source, failure_group_id
FROM removed

-- name: remove_group_jobs
-- Nothing older is left. So a job whose last failure is before this time has no failure in the group any more.
WITH old AS MATERIALIZED (
    SELECT met.failure_group_id, met.job_id
    FROM failure_group_jobs AS met
    JOIN (
        SELECT DISTINCT failure_group_id, job_id
        FROM expired_attempts
        WHERE failure_group_id IS NOT NULL
    ) AS expired USING (failure_group_id, job_id)
    WHERE met.last_finished_at < %(before)s
    ORDER BY met.failure_group_id, met.job_id
    FOR UPDATE OF met
),
removed AS (
    DELETE FROM failure_group_jobs AS met
    USING old
    WHERE met.failure_group_id = old.failure_group_id AND met.job_id = old.job_id
    RETURNING met.failure_group_id
)
INSERT INTO expired_group_jobs (failure_group_id, job_count)
SELECT failure_group_id, count(*)
FROM removed
GROUP BY failure_group_id

-- name: lock_groups
-- A separate statement, so that the next ones read what every writer has committed to these groups.
SELECT count(*)
FROM (
    SELECT id
    FROM failure_groups
    WHERE id IN (SELECT failure_group_id FROM expired_attempts)
    ORDER BY id
    FOR UPDATE
) AS locked

-- name: remove_group_hours
-- No writer changes hours before the horizon, and an hour of a group is deleted as a whole.
DELETE FROM failure_groups_hourly AS stored
USING (
    SELECT DISTINCT failure_group_id, date_trunc('hour', finished_at, 'UTC') AS hour
    FROM expired_attempts
    WHERE failure_group_id IS NOT NULL
) AS expired
WHERE stored.failure_group_id = expired.failure_group_id AND stored.hour = expired.hour

-- name: remove_empty_groups
DELETE FROM failure_groups AS stored
USING (
    SELECT failure_group_id, count(*) AS occurrence_count
    FROM expired_attempts
    WHERE failure_group_id IS NOT NULL
    GROUP BY failure_group_id
) AS expired
WHERE stored.id = expired.failure_group_id AND stored.occurrence_count = expired.occurrence_count

-- name: subtract_from_groups
-- The hours that are left give the first and last time, and the title: the old one if an hour still has it, else the least.
WITH expired AS (
    SELECT failure_group_id, count(*) AS occurrence_count
    FROM expired_attempts
    WHERE failure_group_id IS NOT NULL
    GROUP BY failure_group_id
)
UPDATE failure_groups AS stored
SET
    occurrence_count = stored.occurrence_count - expired.occurrence_count,
    job_count = stored.job_count - coalesce(
        (SELECT job_count FROM expired_group_jobs WHERE failure_group_id = stored.id), 0
    ),
    first_seen_at = coalesce(
        (
            SELECT min(finished_at)
            FROM attempts
            WHERE failure_group_id = stored.id AND finished_at >= hours.first
                AND finished_at < hours.first + interval '1 hour'
        ),
        stored.first_seen_at
    ),
    last_seen_at = coalesce(
        (
            SELECT max(finished_at)
            FROM attempts
            WHERE failure_group_id = stored.id AND finished_at >= hours.last
                AND finished_at < hours.last + interval '1 hour'
        ),
        stored.last_seen_at
    ),
    title = CASE
        WHEN EXISTS (
            SELECT FROM failure_groups_hourly WHERE failure_group_id = stored.id AND title = stored.title
        ) THEN stored.title
        ELSE coalesce(
            (SELECT min(title) FROM failure_groups_hourly WHERE failure_group_id = stored.id), stored.title
        )
    END
FROM
    expired,
    LATERAL (
        SELECT min(hour) AS first, max(hour) AS last
        FROM failure_groups_hourly
        WHERE failure_group_id = expired.failure_group_id
    ) AS hours
WHERE stored.id = expired.failure_group_id

-- name: remove_outcomes
-- Whole days. No writer changes hours before the horizon.
DELETE FROM outcomes_hourly
WHERE hour >= %(first)s AND hour < %(before)s

-- name: subtract_from_outcomes
UPDATE outcomes_hourly AS stored
SET
    completed = stored.completed - expired.completed,
    retryable = stored.retryable - expired.retryable,
    discarded = stored.discarded - expired.discarded,
    cancelled = stored.cancelled - expired.cancelled
FROM (
    SELECT
        namespace, source, worker, queue, date_trunc('hour', finished_at, 'UTC') AS hour,
        count(*) FILTER (WHERE state = 'completed') AS completed,
        count(*) FILTER (WHERE state = 'retryable') AS retryable,
        count(*) FILTER (WHERE state = 'discarded') AS discarded,
        count(*) FILTER (WHERE state = 'cancelled') AS cancelled
    FROM expired_attempts
    GROUP BY namespace, source, worker, queue, hour
) AS expired
WHERE stored.namespace = expired.namespace
    AND stored.source = expired.source
    AND stored.worker = expired.worker
    AND stored.queue = expired.queue
    AND stored.hour = expired.hour

-- name: remove_empty_outcomes
DELETE FROM outcomes_hourly
WHERE (completed, retryable, discarded, cancelled) = (0, 0, 0, 0)
    AND hour >= %(first)s AND hour < %(before)s

-- name: prefer_indexes
-- Look rows up one by one in this transaction. The planner does not know how few are asked for, and might read whole tables.
SELECT
    set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('jit', 'off', true)

-- name: pages_of_jobs
SELECT pg_relation_size('jobs') / current_setting('block_size')::bigint

-- name: runs_of_old_jobs
-- The runs that the expired jobs on these pages name, and the number of these jobs. A job that names no root counts under its
-- own id; `look_at_runs` finds the run it belongs to.
SELECT namespace, CASE WHEN root_job_id = '' THEN job_id ELSE root_job_id END AS run_id, count(*)
FROM jobs
WHERE ctid >= %(first)s::tid AND ctid < %(end)s::tid
  AND is_expired(jobs, %(horizon)s, %(open_horizon)s)
GROUP BY 1, 2

-- name: look_at_runs
-- For each id: whether a job that names it as its root, or has it, is not expired (`lives`). If there is none: the number of
-- jobs, and the other ids that belong to the same run. LIMIT and OFFSET make the planner look rows up by index.
SELECT
    asked.number,
    living.lives,
    CASE WHEN NOT living.lives THEN
        (SELECT count(*) FROM jobs WHERE namespace = asked.namespace AND root_job_id = asked.run_id)
        + (SELECT count(*) FROM jobs
           WHERE job_id = asked.run_id AND namespace = asked.namespace AND root_job_id = '')
    END AS jobs,
    CASE WHEN NOT living.lives THEN ARRAY(
        -- The job with this id names another root.
        SELECT root_job_id
        FROM jobs
        WHERE job_id = asked.run_id AND namespace = asked.namespace AND root_job_id NOT IN ('', asked.run_id)
        UNION
        -- It names no root, so it belongs where the jobs belong that spawned it.
        SELECT coalesce(nullif(parent.root_job_id, ''), edge.upstream_job_id)
        FROM jobs AS job
        JOIN lineage_edges AS edge
            ON edge.job_id = job.job_id AND edge.namespace = job.namespace AND edge.kind = 'spawned'
        LEFT JOIN jobs AS parent
            ON parent.job_id = edge.upstream_job_id AND parent.namespace = job.namespace
        WHERE job.job_id = asked.run_id AND job.namespace = asked.namespace AND job.root_job_id = ''
        UNION
        -- A job of this run is the root of others.
        SELECT job.job_id
        FROM jobs AS job
        WHERE job.namespace = asked.namespace AND job.root_job_id = asked.run_id AND job.job_id <> asked.run_id
          AND (
              SELECT true
              FROM jobs AS below
              WHERE below.namespace = asked.namespace AND below.root_job_id = job.job_id
              LIMIT 1
          )
        UNION
        -- Jobs that name no root, spawned by a job of this run or by the job of this id.
        SELECT child.job_id
        FROM (
            SELECT job_id FROM jobs WHERE namespace = asked.namespace AND root_job_id = asked.run_id
            UNION ALL
            SELECT asked.run_id
        ) AS job
        JOIN lineage_edges AS edge
            ON edge.upstream_job_id = job.job_id AND edge.namespace = asked.namespace AND edge.kind = 'spawned'
        JOIN jobs AS child
            ON child.job_id = edge.job_id AND child.namespace = asked.namespace
        WHERE child.root_job_id = ''
          AND (
              SELECT true
              FROM jobs
              WHERE namespace = asked.namespace AND root_job_id = '' AND parent_job_id <> ''
              LIMIT 1
          )
    ) END AS linked_run_ids
FROM unnest(%(namespaces)s::text[], %(run_ids)s::text[]) WITH ORDINALITY AS asked (namespace, run_id, number)
CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT true
         FROM jobs
         WHERE job_id = asked.run_id AND namespace = asked.namespace
           AND NOT is_expired(jobs, %(horizon)s, %(open_horizon)s)
         LIMIT 1),
        (SELECT true
         FROM jobs
         WHERE namespace = asked.namespace AND root_job_id = asked.run_id
           AND NOT is_expired(jobs, %(horizon)s, %(open_horizon)s)
         LIMIT 1),
        false
    ) AS lives
    OFFSET 0
) AS living
ORDER BY asked.number

-- name: lock_placed_jobs
-- The expired jobs of these runs. A locked row is skipped: a writer has a new event of that job.
INSERT INTO expired_jobs (run_number, namespace, job_id)
SELECT asked.run_number, job.namespace, job.job_id
FROM unnest(%(run_numbers)s::integer[], %(namespaces)s::text[], %(run_ids)s::text[])
    AS asked (run_number, namespace, run_id)
CROSS JOIN LATERAL (
    SELECT namespace, job_id
    FROM jobs
    WHERE jobs.namespace = asked.namespace AND jobs.root_job_id = asked.run_id
      AND is_expired(jobs, %(horizon)s, %(open_horizon)s)
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
) AS job
LIMIT %(most)s

-- name: lock_unplaced_jobs
INSERT INTO expired_jobs (run_number, namespace, job_id)
SELECT asked.run_number, job.namespace, job.job_id
FROM unnest(%(run_numbers)s::integer[], %(namespaces)s::text[], %(run_ids)s::text[])
    AS asked (run_number, namespace, run_id)
CROSS JOIN LATERAL (
    SELECT namespace, job_id
    FROM jobs
    WHERE jobs.job_id = asked.run_id AND jobs.namespace = asked.namespace AND jobs.root_job_id = ''
      AND is_expired(jobs, %(horizon)s, %(open_horizon)s)
    LIMIT 1
    FOR UPDATE SKIP LOCKED
) AS job

-- name: leave_touched_runs
-- If fewer jobs of a run are locked than it had, a writer has the others: all of it stays.
DELETE FROM expired_jobs
WHERE run_number IN (
    SELECT had.run_number
    FROM unnest(%(numbers)s::integer[], %(jobs)s::bigint[]) AS had (run_number, jobs)
    WHERE had.jobs > (SELECT count(*) FROM expired_jobs AS locked WHERE locked.run_number = had.run_number)
)

-- name: runs_with_living_jobs
-- Of runs that were found to be expired, those that have got a job since then that is not: one that names one of the run's ids as
-- its root, or has it, or names no root and was spawned by a job that is locked.
SELECT DISTINCT asked.run_number
FROM unnest(%(run_numbers)s::integer[], %(namespaces)s::text[], %(run_ids)s::text[])
    AS asked (run_number, namespace, run_id)
WHERE coalesce(
    (SELECT true
     FROM jobs
     WHERE job_id = asked.run_id AND namespace = asked.namespace
       AND NOT is_expired(jobs, %(horizon)s, %(open_horizon)s)
     LIMIT 1),
    (SELECT true
     FROM jobs
     WHERE namespace = asked.namespace AND root_job_id = asked.run_id
       AND NOT is_expired(jobs, %(horizon)s, %(open_horizon)s)
     LIMIT 1),
    false
)
UNION
SELECT locked.run_number
FROM expired_jobs AS locked
JOIN lineage_edges AS edge
    ON edge.upstream_job_id = locked.job_id AND edge.namespace = locked.namespace AND edge.kind = 'spawned'
JOIN jobs AS child
    ON child.job_id = edge.job_id AND child.namespace = locked.namespace
WHERE child.root_job_id = ''
  AND NOT is_expired(child, %(horizon)s, %(open_horizon)s)
  AND (
      SELECT true
      FROM jobs
      WHERE namespace = locked.namespace AND root_job_id = '' AND parent_job_id <> ''
      LIMIT 1
  )

-- name: leave_runs
DELETE FROM expired_jobs
WHERE run_number = ANY (%(numbers)s::integer[])

-- name: remove_jobs
DELETE FROM jobs
USING expired_jobs
WHERE jobs.job_id = expired_jobs.job_id AND jobs.namespace = expired_jobs.namespace

-- name: remove_edges
-- A writer of an edge locks the row of the edge's job, so no edge arrives between this statement and the one before.
DELETE FROM lineage_edges AS edge
USING expired_jobs
WHERE edge.namespace = expired_jobs.namespace AND edge.job_id = expired_jobs.job_id

-- name: remove_dead_letters
WITH old AS MATERIALIZED (
    SELECT topic, message_id, publish_time
    FROM dead_letters
    WHERE publish_time < %(horizon)s
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
DELETE FROM dead_letters AS letter
USING old
WHERE letter.topic = old.topic AND letter.message_id = old.message_id AND letter.publish_time = old.publish_time

-- name: partition_sizes
-- Rows by the statistics (NULL: unknown), and bytes with indexes and long values.
SELECT nullif(reltuples, -1)::bigint, pg_total_relation_size(oid)
FROM pg_class
WHERE oid = %(name)s::text::regclass

-- name: count_attempts_of_day
SELECT count(*)
FROM attempts
WHERE finished_at >= %(first)s AND finished_at < %(before)s

-- name: count_stray_attempts
SELECT count(*)
FROM attempts_default
WHERE finished_at < %(before)s

-- name: count_old_jobs
SELECT count(*)
FROM jobs
WHERE latest_at < %(before)s

-- name: count_edges
-- Edges that lead to the expired jobs of these runs on these pages.
SELECT count(*)
FROM jobs
JOIN lineage_edges AS edge
    ON edge.job_id = jobs.job_id AND edge.namespace = jobs.namespace
WHERE jobs.ctid >= %(first)s::tid AND jobs.ctid < %(end)s::tid
  AND is_expired(jobs, %(horizon)s, %(open_horizon)s)
  AND (jobs.namespace, CASE WHEN jobs.root_job_id = '' THEN jobs.job_id ELSE jobs.root_job_id END) IN (
      SELECT namespace, run_id
      FROM unnest(%(namespaces)s::text[], %(run_ids)s::text[]) AS removed (namespace, run_id)
  )

-- name: count_old_sums
SELECT
    (SELECT count(*) FROM failure_groups WHERE last_seen_at < %(before)s),
    (SELECT count(*) FROM failure_groups WHERE first_seen_at < %(before)s AND last_seen_at >= %(before)s),
    (SELECT count(*) FROM failure_groups_hourly WHERE hour < %(before)s),
    (SELECT count(*) FROM outcomes_hourly WHERE hour < %(before)s),
    (SELECT count(*) FROM dead_letters WHERE publish_time < %(before)s)
