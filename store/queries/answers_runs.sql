-- The list of runs. Lookups are written LATERAL, as in answers_lineage.sql.

-- name: roots
-- The roots of runs (jobs_roots_idx), those with the newest event first. Hops from namespace to namespace by the index,
-- and takes the newest of each.
WITH RECURSIVE namespaces AS (
    (
        SELECT namespace
        FROM jobs
        WHERE %(namespace)s::text IS NULL OR namespace = %(namespace)s
        ORDER BY namespace
        LIMIT 1
    )
    UNION ALL
    SELECT (SELECT job.namespace FROM jobs AS job WHERE job.namespace > known.namespace ORDER BY job.namespace LIMIT 1)
    FROM namespaces AS known
    WHERE known.namespace IS NOT NULL AND %(namespace)s::text IS NULL
)
SELECT
    root.job_id, namespaces.namespace, root.worker, root.state, root.source, root.external_id, root.occurred_at,
    root.started_at, root.is_placed
FROM namespaces
CROSS JOIN LATERAL (
    SELECT
        job_id, worker, state, source, external_id, occurred_at,
        least(enqueued_at, started_at, occurred_at) AS started_at,
        root_job_id = job_id AND depth >= 0 AS is_placed
    FROM jobs
    WHERE jobs.namespace = namespaces.namespace
      AND (jobs.root_job_id = jobs.job_id OR (jobs.root_job_id = '' AND jobs.parent_job_id IN ('', jobs.job_id)))
    ORDER BY occurred_at DESC, job_id
    LIMIT %(limit)s
) AS root
ORDER BY root.occurred_at DESC, namespaces.namespace, root.job_id
LIMIT %(limit)s;

-- name: states_of_runs
-- Jobs of each stage in each state, for many runs: only jobs that name the root.
SELECT run.namespace, run.root, stage.depth, stage.worker, stage.state, stage.jobs
FROM unnest(%(namespaces)s::text[], %(roots)s::text[]) AS run (namespace, root)
CROSS JOIN LATERAL (
    SELECT depth, worker, state, count(*) AS jobs
    FROM jobs
    WHERE jobs.namespace = run.namespace AND jobs.root_job_id = run.root
    GROUP BY depth, worker, state
) AS stage;

-- name: last_changes
-- When a job of each of these runs last changed: only jobs that name the root.
SELECT run.namespace, run.root, job.changed_at
FROM unnest(%(namespaces)s::text[], %(roots)s::text[]) AS run (namespace, root)
CROSS JOIN LATERAL (
    SELECT max(occurred_at) AS changed_at
    FROM jobs
    WHERE jobs.namespace = run.namespace AND jobs.root_job_id = run.root
) AS job;
