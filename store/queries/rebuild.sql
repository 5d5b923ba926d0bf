-- The state of a rebuild, and its checks before it starts. `store/rebuild/` runs these queries.

-- name: open_rebuild
SELECT id, topic, state, migration, fingerprint_version, history_from, started_at, deferred_indexes
FROM jobtrail_control.rebuilds
WHERE state IN ('loading', 'following', 'swapped')

-- name: start_rebuild
INSERT INTO jobtrail_control.rebuilds (topic, migration, fingerprint_version, history_from, deferred_indexes)
VALUES (%(topic)s, %(migration)s, %(fingerprint_version)s, %(history_from)s, %(deferred_indexes)s)
RETURNING id

-- name: accept_history_from
UPDATE jobtrail_control.rebuilds
SET history_from = %(history_from)s
WHERE id = %(rebuild)s

-- name: set_state
UPDATE jobtrail_control.rebuilds
SET
    state = %(state)s,
    swapped_at = CASE WHEN %(state)s = 'swapped' THEN now() ELSE swapped_at END,
    ended_at = CASE WHEN %(state)s IN ('done', 'abandoned') THEN now() END
WHERE id = %(rebuild)s

-- name: keep_report
UPDATE jobtrail_control.rebuilds
SET report = %(report)s
WHERE id = %(rebuild)s

-- name: read_report
SELECT report
FROM jobtrail_control.rebuilds
WHERE id = %(rebuild)s

-- name: add_partitions
INSERT INTO jobtrail_control.rebuild_positions (rebuild_id, partition_index)
SELECT %(rebuild)s, unnest(%(partitions)s::integer[])
ON CONFLICT DO NOTHING

-- name: read_positions
SELECT partition_index, ledger_id, entry_id, batch_index, events, expired, dead_letters
FROM jobtrail_control.rebuild_positions
WHERE rebuild_id = %(rebuild)s
ORDER BY partition_index

-- name: advance_position
-- Only from the previous position, so that two processes cannot both continue. A repetition is allowed, because the answer
-- to a commit may have been lost.
UPDATE jobtrail_control.rebuild_positions
SET
    ledger_id = %(ledger)s,
    entry_id = %(entry)s,
    batch_index = %(batch)s,
    events = events + CASE WHEN (ledger_id, entry_id, batch_index) = (%(ledger)s, %(entry)s, %(batch)s) THEN 0 ELSE %(events)s END,
    expired = expired + CASE WHEN (ledger_id, entry_id, batch_index) = (%(ledger)s, %(entry)s, %(batch)s) THEN 0 ELSE %(expired)s END,
    dead_letters = dead_letters + CASE
        WHEN (ledger_id, entry_id, batch_index) = (%(ledger)s, %(entry)s, %(batch)s) THEN 0 ELSE %(dead_letters)s
    END
WHERE rebuild_id = %(rebuild)s AND partition_index = %(partition)s AND (ledger_id, entry_id, batch_index) IN (
    (%(ledger_before)s, %(entry_before)s, %(batch_before)s), (%(ledger)s, %(entry)s, %(batch)s)
)

-- name: secondary_indexes
-- The indexes that no constraint needs. For a partitioned table only the parent's: its children are dropped and created with it.
SELECT index.relname, replace(pg_get_indexdef(index.oid), ' ON ONLY ', ' ON ')
FROM pg_index
JOIN pg_class AS index ON index.oid = pg_index.indexrelid
WHERE index.relnamespace = %(schema)s::text::regnamespace
    AND NOT index.relispartition
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = index.oid)
ORDER BY index.relname

-- name: rows_before
-- Attempts, jobs and dead letters within the horizon that are older than a time. An hour counts if it has ended by then, an
-- open job even if it is older than the horizon.
SELECT
    (SELECT coalesce(sum(completed + retryable + discarded + cancelled), 0)::bigint
     FROM jobtrail.outcomes_hourly, jobtrail_control.horizon
     WHERE hour >= horizon_at AND hour < date_trunc('hour', %(time)s::timestamptz, 'UTC')),
    (SELECT count(*)
     FROM jobtrail.jobs AS job, jobtrail_control.horizon
     WHERE latest_at < %(time)s AND NOT jobtrail.is_expired(job, horizon_at, open_horizon_at)),
    (SELECT count(*) FROM jobtrail.dead_letters WHERE publish_time < %(time)s)

-- name: earliest_rows
SELECT
    (SELECT min(hour) FROM jobtrail.outcomes_hourly WHERE hour >= horizon_at),
    (SELECT min(latest_at) FROM jobtrail.jobs AS job WHERE NOT jobtrail.is_expired(job, horizon_at, open_horizon_at))
FROM jobtrail_control.horizon

-- name: sizes
SELECT
    coalesce(sum(pg_total_relation_size(oid)), 0)::bigint,
    coalesce(sum(reltuples) FILTER (WHERE relname = 'jobs'), 0)::bigint
FROM pg_class
WHERE relnamespace = 'jobtrail'::regnamespace AND relkind = 'r'

-- name: rights
SELECT
    current_user::text,
    has_database_privilege(current_database(), 'CREATE'),
    pg_has_role(nspowner, 'MEMBER'),
    pg_get_userbyid(nspowner)::text
FROM pg_namespace
WHERE nspname = 'jobtrail'

-- name: existing_schemas
SELECT nspname::text
FROM pg_namespace
WHERE nspname IN ('jobtrail_rebuild', 'jobtrail_old')

-- name: foreign_objects
-- Objects that people attached to the live tables, and that would stay behind on the old ones.
SELECT DISTINCT 'view ' || view.oid::regclass::text
FROM pg_depend
JOIN pg_rewrite ON pg_rewrite.oid = objid
JOIN pg_class AS view ON view.oid = ev_class
JOIN pg_class AS ours ON ours.oid = refobjid
WHERE classid = 'pg_rewrite'::regclass
    AND refclassid = 'pg_class'::regclass
    AND ours.relnamespace = 'jobtrail'::regnamespace
UNION ALL
SELECT 'foreign key ' || conname || ' of ' || conrelid::regclass::text
FROM pg_constraint
JOIN pg_class AS ours ON ours.oid = confrelid
WHERE ours.relnamespace = 'jobtrail'::regnamespace
UNION ALL
SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass::text
FROM pg_trigger
JOIN pg_class AS ours ON ours.oid = tgrelid
WHERE ours.relnamespace = 'jobtrail'::regnamespace AND NOT tgisinternal
UNION ALL
SELECT 'publication ' || pubname || ' of ' || prrelid::regclass::text
FROM pg_publication_rel
JOIN pg_publication ON pg_publication.oid = prpubid
JOIN pg_class AS ours ON ours.oid = prrelid
WHERE ours.relnamespace = 'jobtrail'::regnamespace
UNION ALL
SELECT 'policy ' || polname || ' on ' || polrelid::regclass::text
FROM pg_policy
JOIN pg_class AS ours ON ours.oid = polrelid
WHERE ours.relnamespace = 'jobtrail'::regnamespace
UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' ELSE 'table ' END || oid::regclass::text
FROM pg_class
WHERE relnamespace = 'jobtrail'::regnamespace
    AND relkind IN ('r', 'p', 'f', 'm', 'v')
    AND NOT relispartition
    AND relname <> ALL (%(ours)s::text[])
ORDER BY 1

-- name: missing_hours
-- Hours of a namespace in which the live tables have more ends than the new ones, which the session names without a schema.
WITH ends AS (
    SELECT namespace, hour, completed + retryable + discarded + cancelled AS ends
    FROM jobtrail.outcomes_hourly
    WHERE hour BETWEEN coalesce(%(since)s::timestamptz, '-infinity') AND coalesce(%(until)s::timestamptz, 'infinity')
    UNION ALL
    SELECT namespace, hour, -(completed + retryable + discarded + cancelled)
    FROM outcomes_hourly
    WHERE hour BETWEEN coalesce(%(since)s::timestamptz, '-infinity') AND coalesce(%(until)s::timestamptz, 'infinity')
)
SELECT count(*), coalesce(sum(missing), 0)::bigint, min(hour), max(hour)
FROM (
    SELECT hour, sum(ends) AS missing
    FROM ends
    GROUP BY namespace, hour
    HAVING sum(ends) > 0
) AS less

-- name: bound
-- Rows from before this time may be missing: the horizon, or the hour in which reading of the log begins.
SELECT nullif(greatest(horizon_at, date_trunc('hour', %(history_from)s::timestamptz, 'UTC') + interval '1 hour'), '-infinity')
FROM jobtrail_control.horizon

-- name: triage_without_group
SELECT count(*)
FROM jobtrail_triage.failure_groups AS said
WHERE NOT EXISTS (SELECT FROM jobtrail.failure_groups AS known WHERE known.id = said.failure_group_id)
