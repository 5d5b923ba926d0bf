-- Questions about a run. Its jobs are those that name it as their root and say their depth (%(run)s, by index), and
-- those that were walked to (%(walked_ids)s with %(walked_depths)s; usually none).

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
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = place.job_id
    GROUP BY place.depth, job.worker, job.state
)
SELECT depth, worker, state, sum(jobs)::bigint AS jobs
FROM (SELECT * FROM placed UNION ALL SELECT * FROM walked) AS both_kinds
GROUP BY depth, worker, state
ORDER BY depth, worker, state;

-- name: stage_expectations
-- How many jobs of each stage their parents meant to spawn.
WITH expecting AS (
    SELECT depth, expected_children
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND expected_children IS NOT NULL
    UNION ALL
    SELECT place.depth, job.expected_children
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = place.job_id
    WHERE job.expected_children IS NOT NULL
)
SELECT
    CASE WHEN expecting.depth < 0 THEN -1 ELSE expecting.depth + 1 END AS depth,
    child.key AS worker,
    sum(child.value::numeric)::bigint AS expected
FROM expecting
CROSS JOIN LATERAL jsonb_each_text(expecting.expected_children) AS child (key, value)
GROUP BY 1, 2
ORDER BY 1, 2;

-- name: newest_executions
-- The newest start of a job that executes, of these stages: the few executing jobs alone are read.
WITH candidates AS (
    SELECT depth, worker
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
),
executing AS (
    SELECT job.depth, job.worker, job.occurred_at, job.started_at
    FROM candidates
    JOIN jobs AS job
        ON job.namespace = %(namespace)s
       AND job.root_job_id = %(run)s
       AND job.depth = candidates.depth
       AND job.worker = candidates.worker
    WHERE job.depth >= 0
      AND job.state = 'executing'
    UNION ALL
    SELECT place.depth, job.worker, job.occurred_at, job.started_at
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = place.job_id
    JOIN candidates
        ON candidates.depth = place.depth AND candidates.worker = job.worker
    WHERE job.state = 'executing'
)
SELECT depth, worker, max(coalesce(started_at, occurred_at)) AS at
FROM executing
GROUP BY depth, worker;

-- name: stage_facts
-- What the rule of "stuck" needs to know of a stage, in one pass over its jobs: how many wait, since when, what executes,
-- and the last movement. Whether they wait rightly for others, and the stage's pace, is asked for apart, where it matters.
WITH candidates AS (
    SELECT depth, worker
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
),
stage_jobs AS (
    SELECT job.depth, job.worker, job.state, job.occurred_at, job.scheduled_at, job.started_at
    FROM candidates
    JOIN jobs AS job
        ON job.namespace = %(namespace)s
       AND job.root_job_id = %(run)s
       AND job.depth = candidates.depth
       AND job.worker = candidates.worker
    WHERE job.depth >= 0
    UNION ALL
    SELECT place.depth, job.worker, job.state, job.occurred_at, job.scheduled_at, job.started_at
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = place.job_id
    JOIN candidates
        ON candidates.depth = place.depth AND candidates.worker = job.worker
),
-- Jobs in one state are alike in what is asked of them, so each is looked at for what concerns its state alone.
by_state AS (
    SELECT
        depth,
        worker,
        state,
        count(*) AS jobs,
        count(*) FILTER (
            WHERE scheduled_at <= %(now)s OR (scheduled_at IS NULL AND state <> 'scheduled')
        ) AS ready,
        min(greatest(occurred_at, scheduled_at)) FILTER (
            WHERE scheduled_at <= %(now)s OR (scheduled_at IS NULL AND state <> 'scheduled')
        ) AS oldest_ready_at,
        max(started_at) AS newest_start_at,
        max(occurred_at) AS newest_at,
        max(occurred_at) FILTER (WHERE started_at IS NULL) AS newest_without_start_at,
        -- The two may come from different events of the job, whose clocks differ by more than any job runs.
        max(occurred_at - started_at) FILTER (WHERE occurred_at - started_at <= interval '366 days') AS longest
    FROM stage_jobs
    GROUP BY depth, worker, state
)
SELECT
    depth,
    worker,
    coalesce(sum(ready) FILTER (WHERE state IN ('available', 'retryable', 'suspended', 'scheduled')), 0)::bigint
        AS waiting,
    min(oldest_ready_at) FILTER (WHERE state IN ('available', 'retryable', 'suspended', 'scheduled'))
        AS oldest_waiting_at,
    coalesce(sum(jobs) FILTER (WHERE state = 'executing'), 0)::bigint AS executing,
    max(greatest(newest_start_at, newest_without_start_at)) FILTER (WHERE state = 'executing') AS newest_execution_at,
    greatest(
        max(newest_start_at),
        max(newest_at) FILTER (WHERE state IN ('retryable', 'cancelled', 'discarded', 'completed')),
        max(newest_without_start_at) FILTER (WHERE state = 'executing')
    ) AS last_movement_at,
    extract(epoch FROM max(longest) FILTER (
        WHERE state IN ('retryable', 'cancelled', 'discarded', 'completed')
    ))::double precision AS longest_execution_seconds
FROM by_state
GROUP BY depth, worker
ORDER BY depth, worker;

-- name: stage_waiting
-- Of the jobs that wait in these stages those that do not wait for a job that is known and not over, and since when.
WITH candidates AS (
    SELECT depth, worker
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
),
waiting_jobs AS (
    SELECT job.job_id, job.depth, job.worker, job.state, job.occurred_at, job.scheduled_at
    FROM candidates
    JOIN jobs AS job
        ON job.namespace = %(namespace)s
       AND job.root_job_id = %(run)s
       AND job.depth = candidates.depth
       AND job.worker = candidates.worker
    WHERE job.depth >= 0
      AND job.state IN ('available', 'retryable', 'suspended', 'scheduled')
    UNION ALL
    SELECT job.job_id, place.depth, job.worker, job.state, job.occurred_at, job.scheduled_at
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = place.job_id
    JOIN candidates
        ON candidates.depth = place.depth AND candidates.worker = job.worker
    WHERE job.state IN ('available', 'retryable', 'suspended', 'scheduled')
)
SELECT
    stage.depth,
    stage.worker,
    count(*) AS waiting,
    min(greatest(stage.occurred_at, stage.scheduled_at, dependency.over_at)) AS oldest_waiting_at
FROM waiting_jobs AS stage
LEFT JOIN LATERAL (
    SELECT
        max(upstream.occurred_at) AS over_at,
        bool_or(upstream.state NOT IN ('completed', 'cancelled', 'discarded')) AS unfinished
    FROM lineage_edges AS edge
    JOIN jobs AS upstream
        ON upstream.namespace = edge.namespace AND upstream.job_id = edge.upstream_job_id
    WHERE edge.namespace = %(namespace)s
      AND edge.job_id = stage.job_id
      AND edge.kind = 'depends_on'
) AS dependency ON true
WHERE (stage.scheduled_at <= %(now)s OR (stage.scheduled_at IS NULL AND stage.state <> 'scheduled'))
  AND dependency.unfinished IS NOT TRUE
GROUP BY stage.depth, stage.worker;

-- name: stage_pace
-- A stage's own pace, from the newest of its jobs that started: the usual (95th percentile) time between two starts or
-- ends, and the usual wait from being ready to being started.
WITH candidates AS (
    SELECT depth, worker
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
),
newest AS MATERIALIZED (
    SELECT candidates.depth, candidates.worker, started.*
    FROM candidates
    CROSS JOIN LATERAL (
        SELECT started_at, ended_at, ready_at
        FROM (
            SELECT job.started_at, greatest(job.enqueued_at, job.scheduled_at) AS ready_at,
                   CASE WHEN job.state <> 'executing' THEN job.occurred_at END AS ended_at
            FROM jobs AS job
            WHERE job.namespace = %(namespace)s
              AND job.root_job_id = %(run)s
              AND job.depth = candidates.depth
              AND job.depth >= 0
              AND job.worker = candidates.worker
              AND job.started_at IS NOT NULL
            UNION ALL
            SELECT job.started_at, greatest(job.enqueued_at, job.scheduled_at) AS ready_at,
                   CASE WHEN job.state <> 'executing' THEN job.occurred_at END AS ended_at
            FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
            JOIN jobs AS job
                ON job.namespace = %(namespace)s AND job.job_id = place.job_id
            WHERE place.depth = candidates.depth
              AND job.worker = candidates.worker
              AND job.started_at IS NOT NULL
        ) AS all_started
        ORDER BY started_at DESC
        LIMIT %(newest)s
    ) AS started
),
gaps AS (
    SELECT depth, worker,
           moved_at - lag(moved_at) OVER (PARTITION BY depth, worker ORDER BY moved_at) AS gap
    FROM (
        SELECT depth, worker, started_at AS moved_at FROM newest
        UNION ALL
        SELECT depth, worker, ended_at FROM newest WHERE ended_at IS NOT NULL
    ) AS movements
),
usual_gaps AS (
    SELECT depth, worker,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM gap)::double precision)
               FILTER (WHERE gap <= interval '366 days') AS seconds
    FROM gaps
    GROUP BY depth, worker
),
usual_waits AS (
    SELECT depth, worker,
           percentile_cont(0.95) WITHIN GROUP (
               ORDER BY greatest(extract(epoch FROM started_at - ready_at)::double precision, 0)
           ) FILTER (
               -- Two hosts' clocks may differ by a little. A job that is ready later than it started is to run again.
               WHERE started_at - ready_at BETWEEN interval '-5 minutes' AND interval '366 days'
           ) AS seconds
    FROM newest
    GROUP BY depth, worker
)
SELECT depth, worker, usual_gaps.seconds AS usual_gap_seconds, usual_waits.seconds AS usual_wait_seconds
FROM usual_gaps
JOIN usual_waits USING (depth, worker)
ORDER BY depth, worker;

-- name: spawn_links
-- Which stage spawned which, in what states. A parent that is not of the run, or not known, is NULL. Parents are joined
-- by the table's own key, not by a list of the run's jobs: so the planner knows that each has one row at the most.
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
    SELECT job.job_id, job.parent_job_id, walked.depth, job.worker, job.state
    FROM walked
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = walked.job_id
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
linked AS (
    SELECT
        CASE
            WHEN walked.depth IS NOT NULL THEN walked.depth
            WHEN parent.root_job_id = %(run)s AND parent.depth >= 0 THEN parent.depth
        END AS parent_depth,
        parent.worker AS parent_worker,
        child.depth, child.worker, child.state, child.job_id
    FROM spawned AS child
    LEFT JOIN jobs AS parent
        ON parent.namespace = %(namespace)s AND parent.job_id = child.parent_job_id
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
-- Which stage's jobs had to finish before which: edges and jobs between each two stages.
WITH run_jobs AS MATERIALIZED (
    SELECT job_id, depth, worker
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
    UNION ALL
    SELECT job.job_id, place.depth, job.worker
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = place.job_id
)
SELECT
    upstream.depth AS parent_depth,
    upstream.worker AS parent_worker,
    downstream.depth,
    downstream.worker,
    count(*) AS edges,
    count(DISTINCT downstream.job_id) AS jobs
FROM run_jobs AS downstream
JOIN lineage_edges AS edge
    ON edge.namespace = %(namespace)s AND edge.job_id = downstream.job_id AND edge.kind = 'depends_on'
JOIN run_jobs AS upstream
    ON upstream.job_id = edge.upstream_job_id
GROUP BY upstream.depth, upstream.worker, downstream.depth, downstream.worker
ORDER BY upstream.depth, upstream.worker, downstream.depth, downstream.worker;

-- name: stage_failures
-- Jobs that stand failed now, by stage and category.
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
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = place.job_id
    WHERE job.state IN ('retryable', 'discarded')
)
SELECT depth, worker, error_category AS category, count(*) AS jobs, count(DISTINCT failure_group_id) AS groups
FROM failed
GROUP BY depth, worker, error_category
ORDER BY depth, worker, jobs DESC, error_category;

-- name: children
-- The jobs that an edge leads to from one job, by worker and state.
SELECT job.job_id, job.worker, job.state, job.attempt, job.external_id, edge.kind
FROM lineage_edges AS edge
JOIN jobs AS job
    ON job.namespace = edge.namespace AND job.job_id = edge.job_id
WHERE edge.namespace = %(namespace)s
  AND edge.upstream_job_id = %(job_id)s
  AND edge.kind = ANY (%(kinds)s)
ORDER BY job.worker, job.state, job.job_id, edge.kind
LIMIT %(limit)s;

-- name: children_states
SELECT job.worker, job.state, edge.kind, count(*) AS jobs
FROM lineage_edges AS edge
JOIN jobs AS job
    ON job.namespace = edge.namespace AND job.job_id = edge.job_id
WHERE edge.namespace = %(namespace)s
  AND edge.upstream_job_id = %(job_id)s
  AND edge.kind = ANY (%(kinds)s)
GROUP BY job.worker, job.state, edge.kind
ORDER BY job.worker, job.state, edge.kind;

-- name: jobs_by_id
SELECT job_id, worker, state, attempt, external_id
FROM jobs
WHERE namespace = %(namespace)s
  AND job_id = ANY (%(job_ids)s);
