-- Which jobs belong to a run. Most say so themselves (root_job_id, depth); the others ("unplaced": they name only a
-- parent, or a root without a depth) are found by their edges.

-- name: namespaces_of_job
-- Every namespace that knows the job, or jobs that name it as their root. Hops from namespace to namespace by the index.
WITH RECURSIVE namespaces AS (
    (SELECT namespace FROM jobs ORDER BY namespace LIMIT 1)
    UNION ALL
    SELECT (SELECT job.namespace FROM jobs AS job WHERE job.namespace > known.namespace ORDER BY job.namespace LIMIT 1)
    FROM namespaces AS known
    WHERE known.namespace IS NOT NULL
)
SELECT namespaces.namespace
FROM namespaces
WHERE namespaces.namespace IS NOT NULL
  AND (
      EXISTS (SELECT FROM jobs AS job WHERE job.namespace = namespaces.namespace AND job.job_id = %(job_id)s)
      OR EXISTS (SELECT FROM jobs AS job WHERE job.namespace = namespaces.namespace AND job.root_job_id = %(job_id)s)
  )
ORDER BY namespaces.namespace;

-- name: job
SELECT job_id, worker, state, attempt, external_id, root_job_id, parent_job_id, depth
FROM jobs
WHERE namespace = %(namespace)s
  AND job_id = %(job_id)s;

-- name: is_root_of_others
SELECT EXISTS (
    SELECT FROM jobs WHERE namespace = %(namespace)s AND root_job_id = %(job_id)s
) AS answer;

-- name: unplaced_jobs
-- The jobs that do not say where in a run they belong, each with those who spawned it: one row an edge.
WITH unplaced AS (
    (SELECT job_id, false AS in_run FROM jobs
     WHERE namespace = %(namespace)s AND root_job_id = '' LIMIT %(bound)s)
    UNION ALL
    (SELECT job_id, true AS in_run FROM jobs
     WHERE namespace = %(namespace)s AND root_job_id = %(root)s AND depth = -1 LIMIT %(bound)s)
)
SELECT
    unplaced.job_id,
    unplaced.in_run,
    edge.upstream_job_id AS parent_job_id,
    parent.depth AS parent_depth
FROM unplaced
LEFT JOIN lineage_edges AS edge
    ON edge.namespace = %(namespace)s AND edge.job_id = unplaced.job_id AND edge.kind = 'spawned'
LEFT JOIN jobs AS parent
    ON parent.namespace = %(namespace)s
   AND parent.job_id = edge.upstream_job_id
   AND parent.root_job_id = %(root)s
   AND parent.depth >= 0;

-- name: members
-- The jobs that say they belong to the run, most of them also where.
SELECT job_id, depth
FROM jobs
WHERE namespace = %(namespace)s
  AND root_job_id = %(root)s
LIMIT %(bound)s;
