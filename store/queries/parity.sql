-- Compare the rebuilt tables with those they replaced: one view per table, in the session of `store/rebuild/parity.py`.
--
-- A row of a view is a row of either table: in_old, in_new, and
--   same   both tables have it, and it is equal
--   ahead  the new row has all of the old one, and more: events came meanwhile. This must cover whatever a merge may change when
--          events are added, else a rebuild beside live traffic reports false differences
--   aged   the old row is from before the bound: it was deleted, or the topic was not read from then on
--   key    identifies the row

-- name: create_rules
-- Rows from before `bound` may be missing; open jobs, and jobs of runs that are kept, only from before `history_bound`.
CREATE TEMPORARY TABLE parity_rules (
    bound           timestamptz NOT NULL,
    history_bound   timestamptz NOT NULL,
    open_horizon_at timestamptz NOT NULL,
    same_groups     boolean     NOT NULL
)

-- name: create_parity_jobs
-- Retention deletes a run as a whole. So the horizon explains a missing job only if it is expired and no job that names the
-- same root is left. earliest_at is '-infinity' if the earliest event is not known.
CREATE TEMPORARY VIEW parity_jobs AS
SELECT
    o.job_id IS NOT NULL AS in_old,
    n.job_id IS NOT NULL AS in_new,
    ROW(o.*) IS NOT DISTINCT FROM ROW(n.*)
        OR NOT (SELECT same_groups FROM parity_rules)
            AND to_jsonb(o) - 'failure_group_id' = to_jsonb(n) - 'failure_group_id' AS same,
    (n.attempt, n.state_rank, n.occurred_at) >= (o.attempt, o.state_rank, o.occurred_at)
        AND n.latest_at >= o.latest_at
        AND (n.earliest_at <= o.earliest_at OR o.earliest_at = '-infinity')
        AND (o.source IS NULL OR n.source <= o.source)
        AND (o.external_id IS NULL OR n.external_id <= o.external_id)
        AND (o.root_job_id = '' OR n.root_job_id <= o.root_job_id AND n.root_job_id <> '')
        AND (o.args IS NULL OR n.args IS NOT NULL)
        AND (o.is_repeated IS NULL OR n.is_repeated OR n.attempt > o.attempt) AS ahead,
    -- A row from before migration 0006 does not know its earliest event.
    CASE
        WHEN o.earliest_at > '-infinity' THEN o.earliest_at
        ELSE least(o.occurred_at, o.enqueued_at, o.started_at, o.args_occurred_at)
    END < (SELECT bound FROM parity_rules)
        AND (
            n.job_id IS NOT NULL
            OR o.latest_at < (SELECT history_bound FROM parity_rules)
            OR jobtrail_old.is_expired(
                    o, (SELECT bound FROM parity_rules), (SELECT open_horizon_at FROM parity_rules)
                )
                AND NOT EXISTS (
                    SELECT
                    FROM jobtrail.jobs AS kin
                    WHERE kin.namespace = o.namespace AND kin.root_job_id = o.root_job_id AND o.root_job_id <> ''
                )
        ) AS aged,
    json_build_object('namespace', o.namespace, 'job_id', o.job_id) AS key
FROM jobtrail_old.jobs AS o
FULL JOIN jobtrail.jobs AS n ON n.job_id = o.job_id AND n.namespace = o.namespace

-- name: create_parity_attempts
-- An attempt that has ended never changes, except that impossible times (schemas/times.py) of an earlier release are removed.
CREATE TEMPORARY VIEW parity_attempts AS
SELECT
    o.job_id IS NOT NULL AS in_old,
    n.job_id IS NOT NULL AS in_new,
    ROW(o.*) IS NOT DISTINCT FROM ROW(n.*)
        OR NOT (SELECT same_groups FROM parity_rules)
            AND to_jsonb(o) - 'failure_group_id' = to_jsonb(n) - 'failure_group_id' AS same,
    (
        n.enqueued_at = o.enqueued_at
        OR n.enqueued_at IS NULL AND (o.enqueued_at IS NULL OR o.enqueued_at
            NOT BETWEEN o.finished_at - interval '3653 days' AND o.finished_at + interval '5 minutes')
    ) AND (
        n.scheduled_at = o.scheduled_at
        OR n.scheduled_at IS NULL AND (o.scheduled_at IS NULL OR o.scheduled_at
            NOT BETWEEN o.finished_at - interval '3653 days' AND o.finished_at + interval '3653 days')
    ) AND (
        n.started_at = o.started_at
        OR n.started_at IS NULL AND (o.started_at IS NULL OR o.started_at
            NOT BETWEEN o.finished_at - interval '366 days' AND o.finished_at + interval '5 minutes')
    ) AS ahead,
    o.finished_at < (SELECT bound FROM parity_rules) AS aged,
    json_build_object(
        'namespace', o.namespace, 'job_id', o.job_id, 'attempt', o.attempt, 'finished_at', o.finished_at, 'digest', o.digest
    ) AS key
FROM jobtrail_old.attempts AS o
FULL JOIN jobtrail.attempts AS n
    ON n.job_id = o.job_id AND n.attempt = o.attempt AND n.finished_at = o.finished_at
    AND n.digest = o.digest AND n.namespace = o.namespace

-- name: create_parity_lineage_edges
-- Aged: the edge was deleted with the job it leads to, or its event is from before the bound.
CREATE TEMPORARY VIEW parity_lineage_edges AS
SELECT
    o.job_id IS NOT NULL AS in_old,
    n.job_id IS NOT NULL AS in_new,
    ROW(o.*) IS NOT DISTINCT FROM ROW(n.*) AS same,
    false AS ahead,
    NOT EXISTS (
        SELECT FROM jobtrail.jobs AS job WHERE job.job_id = o.job_id AND job.namespace = o.namespace
    ) OR EXISTS (
        SELECT
        FROM jobtrail_old.jobs AS job
        WHERE job.job_id = o.job_id
            AND job.namespace = o.namespace
            AND CASE
                WHEN job.earliest_at > '-infinity' THEN job.earliest_at
                ELSE least(job.occurred_at, job.enqueued_at, job.started_at, job.args_occurred_at)
            END < (SELECT bound FROM parity_rules)
    ) AS aged,
    json_build_object(
        'namespace', o.namespace, 'upstream_job_id', o.upstream_job_id, 'kind', o.kind, 'job_id', o.job_id
    ) AS key
FROM jobtrail_old.lineage_edges AS o
FULL JOIN jobtrail.lineage_edges AS n
    ON n.upstream_job_id = o.upstream_job_id AND n.job_id = o.job_id AND n.kind = o.kind AND n.namespace = o.namespace

-- name: create_parity_dead_letters
-- This release may have another reason for a dead letter. Every message was read: one that is no longer a dead letter is an event.
CREATE TEMPORARY VIEW parity_dead_letters AS
SELECT
    o.topic IS NOT NULL AS in_old,
    n.topic IS NOT NULL AS in_new,
    ROW(o.*) IS NOT DISTINCT FROM ROW(n.*) AS same,
    true AS ahead,
    true AS aged,
    json_build_object('topic', o.topic, 'message_id', o.message_id, 'publish_time', o.publish_time) AS key
FROM jobtrail_old.dead_letters AS o
FULL JOIN jobtrail.dead_letters AS n
    ON n.topic = o.topic AND n.message_id = o.message_id AND n.publish_time = o.publish_time

-- name: create_parity_failure_groups
CREATE TEMPORARY VIEW parity_failure_groups AS
SELECT
    o.id IS NOT NULL AS in_old,
    n.id IS NOT NULL AS in_new,
    ROW(o.*) IS NOT DISTINCT FROM ROW(n.*) AS same,
    n.occurrence_count >= o.occurrence_count
        AND n.job_count >= o.job_count
        AND n.first_seen_at <= o.first_seen_at
        AND n.last_seen_at >= o.last_seen_at
        AND n.title <= o.title AS ahead,
    o.first_seen_at < (SELECT bound FROM parity_rules) AS aged,
    json_build_object('id', o.id) AS key
FROM jobtrail_old.failure_groups AS o
FULL JOIN jobtrail.failure_groups AS n ON n.id = o.id

-- name: create_parity_failure_group_jobs
-- Ahead: the job failed with this group again.
CREATE TEMPORARY VIEW parity_failure_group_jobs AS
SELECT
    o.job_id IS NOT NULL AS in_old,
    n.job_id IS NOT NULL AS in_new,
    ROW(o.*) IS NOT DISTINCT FROM ROW(n.*) AS same,
    n.last_finished_at >= o.last_finished_at AS ahead,
    EXISTS (
        SELECT
        FROM jobtrail_old.failure_groups AS met
        WHERE met.id = o.failure_group_id AND met.first_seen_at < (SELECT bound FROM parity_rules)
    ) AS aged,
    json_build_object('failure_group_id', o.failure_group_id, 'job_id', o.job_id) AS key
FROM jobtrail_old.failure_group_jobs AS o
FULL JOIN jobtrail.failure_group_jobs AS n ON n.failure_group_id = o.failure_group_id AND n.job_id = o.job_id

-- name: create_parity_failure_groups_hourly
CREATE TEMPORARY VIEW parity_failure_groups_hourly AS
SELECT
    o.hour IS NOT NULL AS in_old,
    n.hour IS NOT NULL AS in_new,
    ROW(o.*) IS NOT DISTINCT FROM ROW(n.*) AS same,
    n.occurrence_count >= o.occurrence_count AND n.title <= o.title AS ahead,
    o.hour < (SELECT bound FROM parity_rules) AS aged,
    json_build_object('failure_group_id', o.failure_group_id, 'hour', o.hour) AS key
FROM jobtrail_old.failure_groups_hourly AS o
FULL JOIN jobtrail.failure_groups_hourly AS n ON n.failure_group_id = o.failure_group_id AND n.hour = o.hour

-- name: create_parity_outcomes_hourly
CREATE TEMPORARY VIEW parity_outcomes_hourly AS
SELECT
    o.hour IS NOT NULL AS in_old,
    n.hour IS NOT NULL AS in_new,
    ROW(o.*) IS NOT DISTINCT FROM ROW(n.*) AS same,
    n.completed >= o.completed
        AND n.retryable >= o.retryable
        AND n.discarded >= o.discarded
        AND n.cancelled >= o.cancelled AS ahead,
    o.hour < (SELECT bound FROM parity_rules) AS aged,
    json_build_object(
        'namespace', o.namespace, 'source', o.source, 'worker', o.worker, 'queue', o.queue, 'hour', o.hour
    ) AS key
FROM jobtrail_old.outcomes_hourly AS o
FULL JOIN jobtrail.outcomes_hourly AS n
    ON n.namespace = o.namespace AND n.source = o.source AND n.worker = o.worker AND n.queue = o.queue AND n.hour = o.hour
