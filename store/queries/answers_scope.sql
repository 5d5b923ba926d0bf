-- Which jobs belong to a run. Most say so themselves (root_job_id, depth). The others ("unplaced": they name only a
-- parent, or a root without a depth) are found by their edges. Lookups of one job are written LATERAL with OFFSET 0, so
-- that they use the index even if the planner has no statistics of fresh tables.

-- name: namespaces_of_job
-- Every namespace that has the job, or jobs that name it as their root or parent. Hops from namespace to namespace by the
-- index.
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
      OR EXISTS (
          SELECT FROM lineage_edges AS edge
          WHERE edge.namespace = namespaces.namespace AND edge.upstream_job_id = %(job_id)s AND edge.kind = 'spawned'
      )
  )
ORDER BY namespaces.namespace;

-- name: job
SELECT job_id, worker, state, attempt, occurred_at, started_at, external_id, root_job_id, parent_job_id, depth
FROM jobs
WHERE namespace = %(namespace)s
  AND job_id = %(job_id)s;

-- name: is_named_by_others
-- Whether jobs name it as their root or their parent.
SELECT
    EXISTS (
        SELECT FROM jobs WHERE namespace = %(namespace)s AND root_job_id = %(job_id)s
    )
    OR EXISTS (
        SELECT FROM lineage_edges
        WHERE namespace = %(namespace)s AND upstream_job_id = %(job_id)s AND kind = 'spawned'
    ) AS answer;

-- name: has_unplaced_jobs
-- Whether any job of the namespace, or of the run, does not say its place in a run.
SELECT
    EXISTS (
        SELECT FROM jobs WHERE namespace = %(namespace)s AND root_job_id = '' AND parent_job_id <> ''
    )
    OR EXISTS (
        SELECT FROM jobs WHERE namespace = %(namespace)s AND root_job_id = %(root)s AND depth = -1
    ) AS answer;

-- name: count_members
-- How many jobs name the root, counted up to a bound.
SELECT count(*) AS jobs
FROM (
    SELECT FROM jobs WHERE namespace = %(namespace)s AND root_job_id = %(root)s LIMIT %(bound)s
) AS members;

-- name: unplaced_jobs
-- The unplaced jobs of the namespace and of the run, each with the jobs that spawned it: one row per edge. For a run of many
-- jobs in a namespace with few unplaced ones.
WITH unplaced AS (
    (SELECT job_id, false AS in_run FROM jobs
     WHERE namespace = %(namespace)s AND root_job_id = '' AND parent_job_id <> '' LIMIT %(bound)s)
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
LEFT JOIN LATERAL (
    SELECT lineage_edges.upstream_job_id
    FROM lineage_edges
    WHERE lineage_edges.namespace = %(namespace)s
      AND lineage_edges.job_id = unplaced.job_id
      AND lineage_edges.kind = 'spawned'
    OFFSET 0
) AS edge ON true
LEFT JOIN LATERAL (
    SELECT jobs.depth
    FROM jobs
    WHERE jobs.namespace = %(namespace)s
      AND jobs.job_id = edge.upstream_job_id
      AND jobs.root_job_id = %(root)s
      AND jobs.depth >= 0
    OFFSET 0
) AS parent ON true;

-- name: unplaced_below
-- The same for the unplaced jobs below the root and below all jobs that name it, at any depth, the nearest first. For a run
-- with few jobs that say their place, or with only unplaced ones.
WITH RECURSIVE below (job_id) AS (
    SELECT first.job_id COLLATE "C"
    FROM (
        SELECT %(root)s::text AS job_id
        UNION
        SELECT job_id FROM jobs WHERE namespace = %(namespace)s AND root_job_id = %(root)s
    ) AS first
    UNION
    SELECT child.job_id
    FROM below
    CROSS JOIN LATERAL (
        SELECT lineage_edges.job_id
        FROM lineage_edges
        WHERE lineage_edges.namespace = %(namespace)s
          AND lineage_edges.upstream_job_id = below.job_id
          AND lineage_edges.kind = 'spawned'
        OFFSET 0
    ) AS child
    CROSS JOIN LATERAL (
        SELECT
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.job_id = child.job_id
          AND (jobs.root_job_id = '' OR (jobs.root_job_id = %(root)s AND jobs.depth = -1))
        OFFSET 0
    ) AS unplaced
),
found AS (
    SELECT job_id FROM below LIMIT %(bound)s
)
SELECT
    found.job_id,
    job.root_job_id = %(root)s AS in_run,
    edge.upstream_job_id AS parent_job_id,
    parent.depth AS parent_depth
FROM found
CROSS JOIN LATERAL (
    SELECT jobs.root_job_id
    FROM jobs
    WHERE jobs.namespace = %(namespace)s
      AND jobs.job_id = found.job_id
      AND (jobs.root_job_id = '' OR jobs.depth = -1)
    OFFSET 0
) AS job
LEFT JOIN LATERAL (
    SELECT lineage_edges.upstream_job_id
    FROM lineage_edges
    WHERE lineage_edges.namespace = %(namespace)s
      AND lineage_edges.job_id = found.job_id
      AND lineage_edges.kind = 'spawned'
    OFFSET 0
) AS edge ON true
LEFT JOIN LATERAL (
    SELECT jobs.depth
    FROM jobs
    WHERE jobs.namespace = %(namespace)s
      AND jobs.job_id = edge.upstream_job_id
      AND jobs.root_job_id = %(root)s
      AND jobs.depth >= 0
    OFFSET 0
) AS parent ON true;

-- name: places_of_jobs
-- The places that jobs say.
SELECT job_id, root_job_id, depth
FROM unnest(%(job_ids)s::text[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT jobs.job_id, jobs.root_job_id, jobs.depth
    FROM jobs
    WHERE jobs.namespace = %(namespace)s AND jobs.job_id = asked.id
    OFFSET 0
) AS job;
