-- Questions about a run. Its jobs are those that name it as their root and say their depth (%(run)s, by index), and
-- those found by walking (%(walked_ids)s with %(walked_depths)s; usually none). Lookups of one job are written LATERAL
-- with OFFSET 0, so that they use the index even if the planner has no statistics of fresh tables.

-- name: stage_states
-- Jobs of each stage in each state. Answered by jobs_run_stage_state_idx alone.
WITH placed AS (
    SELECT depth, worker, state, count(*) AS jobs
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
    GROUP BY depth, worker, state
),
walked AS (
    SELECT place.depth, job.worker, job.state, count(*) AS jobs
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker, state
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
    GROUP BY place.depth, job.worker, job.state
)
SELECT depth, worker, state, sum(jobs)::bigint AS jobs
FROM (SELECT * FROM placed UNION ALL SELECT * FROM walked) AS both_kinds
GROUP BY depth, worker, state
ORDER BY depth, worker, state;

-- name: stage_expectations
-- How many jobs of each stage their parents announced, and how many of these parents are not over.
WITH expecting AS (
    SELECT depth, state, expected_children
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND expected_children IS NOT NULL
    UNION ALL
    SELECT place.depth, job.state, job.expected_children
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT state, expected_children
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
    WHERE job.expected_children IS NOT NULL
)
SELECT
    CASE WHEN expecting.depth < 0 THEN -1 ELSE expecting.depth + 1 END AS depth,
    child.key AS worker,
    sum(child.value::numeric)::bigint AS expected,
    count(*) FILTER (WHERE expecting.state NOT IN ('completed', 'cancelled', 'discarded')) AS open_parents
FROM expecting
CROSS JOIN LATERAL jsonb_each_text(expecting.expected_children) AS child (key, value)
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: stage_spawned
-- How many jobs of these stages (%(depths)s with %(workers)s) the parents that announced any of them spawned.
WITH expecting AS (
    SELECT job_id, depth, expected_children
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND expected_children IS NOT NULL
    UNION ALL
    SELECT place.job_id, place.depth, job.expected_children
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT expected_children
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
    WHERE job.expected_children IS NOT NULL
),
announcing AS MATERIALIZED (
    SELECT
        expecting.job_id,
        CASE WHEN expecting.depth < 0 THEN -1 ELSE expecting.depth + 1 END AS depth,
        child.key AS worker
    FROM expecting
    CROSS JOIN LATERAL jsonb_object_keys(expecting.expected_children) AS child (key)
),
asked AS MATERIALIZED (
    SELECT announcing.job_id, announcing.depth, announcing.worker
    FROM announcing
    JOIN unnest(%(depths)s::integer[], %(workers)s::text[]) AS stage (depth, worker)
        ON stage.depth = announcing.depth AND stage.worker = announcing.worker
)
SELECT asked.depth, asked.worker, count(*) AS spawned
FROM asked
CROSS JOIN LATERAL (
    SELECT lineage_edges.job_id
    FROM lineage_edges
    WHERE lineage_edges.namespace = %(namespace)s
      AND lineage_edges.upstream_job_id = asked.job_id
      AND lineage_edges.kind = 'spawned'
    OFFSET 0
) AS edge
CROSS JOIN LATERAL (
    SELECT
    FROM jobs
    WHERE jobs.namespace = %(namespace)s AND jobs.job_id = edge.job_id AND jobs.worker = asked.worker
    OFFSET 0
) AS spawned
GROUP BY asked.depth, asked.worker;

-- name: spawn_links
-- Which stage spawned which, by state. A parent that is outside the run, or not known, is NULL.
WITH walked AS (
    SELECT job_id, depth
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
),
run_jobs AS (
    SELECT job_id, parent_job_id, depth, worker, state
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
    UNION ALL
    SELECT walked.job_id, job.parent_job_id, walked.depth, job.worker, job.state
    FROM walked
    CROSS JOIN LATERAL (
        SELECT parent_job_id, worker, state
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = walked.job_id
        OFFSET 0
    ) AS job
),
spawned AS (
    SELECT
        job_id, depth, worker, state,
        CASE
            WHEN parent_job_id <> '' THEN parent_job_id
            WHEN depth <> 0 THEN (
                SELECT min(edge.upstream_job_id)
                FROM lineage_edges AS edge
                WHERE edge.namespace = %(namespace)s AND edge.job_id = run_jobs.job_id AND edge.kind = 'spawned'
            )
        END AS parent_job_id
    FROM run_jobs
),
-- Each parent is looked up once, however many children it has.
parents AS (
    SELECT spawned.parent_job_id, job.root_job_id, job.depth, job.worker
    FROM (SELECT DISTINCT parent_job_id FROM spawned WHERE parent_job_id IS NOT NULL) AS spawned
    CROSS JOIN LATERAL (
        SELECT root_job_id, depth, worker
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = spawned.parent_job_id
        OFFSET 0
    ) AS job
),
linked AS (
    SELECT
        CASE
            WHEN walked.depth IS NOT NULL THEN walked.depth
            WHEN parents.root_job_id = %(run)s AND parents.depth >= 0 THEN parents.depth
        END AS parent_depth,
        parents.worker AS parent_worker,
        child.depth, child.worker, child.state, child.job_id
    FROM spawned AS child
    LEFT JOIN parents
        ON parents.parent_job_id = child.parent_job_id
    LEFT JOIN walked
        ON walked.job_id = child.parent_job_id
)
SELECT
    parent_depth,
    CASE WHEN parent_depth IS NOT NULL THEN parent_worker END AS parent_worker,
    depth,
    worker,
    state,
    count(*) AS jobs,
    min(job_id) AS sample_job_id
FROM linked
GROUP BY 1, 2, depth, worker, state
ORDER BY 1, 2, depth, worker, state;

-- name: dependency_links
-- Which stages had to finish before which others: the edges and jobs between each two stages.
WITH run_jobs AS MATERIALIZED (
    SELECT job_id, depth, worker
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
    UNION ALL
    SELECT place.job_id, place.depth, job.worker
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
),
edges AS MATERIALIZED (
    SELECT run_jobs.job_id, run_jobs.depth, run_jobs.worker, edge.upstream_job_id
    FROM run_jobs
    CROSS JOIN LATERAL (
        SELECT lineage_edges.upstream_job_id
        FROM lineage_edges
        WHERE lineage_edges.namespace = %(namespace)s
          AND lineage_edges.job_id = run_jobs.job_id
          AND lineage_edges.kind = 'depends_on'
        OFFSET 0
    ) AS edge
)
SELECT
    upstream.depth AS parent_depth,
    upstream.worker AS parent_worker,
    edges.depth,
    edges.worker,
    count(*) AS edges,
    count(DISTINCT edges.job_id) AS jobs
FROM edges
JOIN run_jobs AS upstream
    ON upstream.job_id = edges.upstream_job_id
GROUP BY upstream.depth, upstream.worker, edges.depth, edges.worker
ORDER BY upstream.depth, upstream.worker, edges.depth, edges.worker;

-- name: stage_failures
-- Jobs that are failed now, by stage and category.
WITH failed AS (
    SELECT depth, worker, error_category, failure_group_id
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND state IN ('retryable', 'discarded')
    UNION ALL
    SELECT place.depth, job.worker, job.error_category, job.failure_group_id
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker, state, error_category, failure_group_id
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
    WHERE job.state IN ('retryable', 'discarded')
)
SELECT depth, worker, error_category AS category, count(*) AS jobs, count(DISTINCT failure_group_id) AS groups
FROM failed
GROUP BY depth, worker, error_category
ORDER BY depth, worker, jobs DESC, error_category;

-- name: children
-- The jobs one edge below a job, by worker and state, each once with its kinds of edges.
SELECT
    child.job_id, job.worker, job.state, job.attempt, job.occurred_at, job.started_at, job.external_id, child.kinds
FROM (
    SELECT job_id, array_agg(kind ORDER BY kind DESC) AS kinds
    FROM lineage_edges
    WHERE namespace = %(namespace)s
      AND upstream_job_id = %(job_id)s
      AND kind = ANY (%(kinds)s)
    GROUP BY job_id
) AS child
CROSS JOIN LATERAL (
    SELECT worker, state, attempt, occurred_at, started_at, external_id
    FROM jobs
    WHERE jobs.namespace = %(namespace)s AND jobs.job_id = child.job_id
    OFFSET 0
) AS job
ORDER BY job.worker, job.state, child.job_id
LIMIT %(limit)s;

-- name: children_states
-- The same jobs counted.
SELECT job.worker, job.state, child.kinds, count(*) AS jobs
FROM (
    SELECT job_id, array_agg(kind ORDER BY kind DESC) AS kinds
    FROM lineage_edges
    WHERE namespace = %(namespace)s
      AND upstream_job_id = %(job_id)s
      AND kind = ANY (%(kinds)s)
    GROUP BY job_id
) AS child
CROSS JOIN LATERAL (
    SELECT worker, state
    FROM jobs
    WHERE jobs.namespace = %(namespace)s AND jobs.job_id = child.job_id
    OFFSET 0
) AS job
GROUP BY job.worker, job.state, child.kinds
ORDER BY job.worker, job.state, child.kinds DESC;

-- name: jobs_by_id
SELECT job_id, worker, state, attempt, occurred_at, started_at, external_id
FROM unnest(%(job_ids)s::text[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT jobs.*
    FROM jobs
    WHERE jobs.namespace = %(namespace)s AND jobs.job_id = asked.id
    OFFSET 0
) AS job;

-- name: last_change
-- When a job of the run last changed.
SELECT max(changed_at) AS changed_at
FROM (
    SELECT max(occurred_at) AS changed_at
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
    UNION ALL
    SELECT max(job.occurred_at)
    FROM unnest(%(walked_ids)s::text[]) AS place (job_id)
    CROSS JOIN LATERAL (
        SELECT occurred_at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
) AS both_kinds;
