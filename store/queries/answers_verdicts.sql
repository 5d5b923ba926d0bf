-- What the rule for verdicts (store/answers/verdicts.py) needs to know about the stages of a whole run. Parameters: see
-- answers_lineage.sql; %(depths)s with %(workers)s are the stages in the query.

-- name: oldest_executions
-- When the oldest executing job of each of these stages started. Reads only executing jobs.
WITH executing AS (
    SELECT candidate.depth, candidate.worker, job.at
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
    CROSS JOIN LATERAL (
        SELECT coalesce(started_at, occurred_at) AS at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.root_job_id = %(run)s
          AND jobs.depth = candidate.depth
          AND jobs.depth >= 0
          AND jobs.worker = candidate.worker
          AND jobs.state = 'executing'
        OFFSET 0
    ) AS job
    UNION ALL
    SELECT place.depth, job.worker, job.at
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker, coalesce(started_at, occurred_at) AS at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id AND jobs.state = 'executing'
        OFFSET 0
    ) AS job
)
SELECT depth, worker, min(at) AS at
FROM executing
GROUP BY depth, worker;

-- name: stage_durations
-- How long the jobs of these stages took: how many completed, and the longest duration of all that ended. Start and end may
-- come from different events of the job, whose clocks may differ by more than any job runs.
WITH candidates AS (
    SELECT depth, worker
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
),
walked AS MATERIALIZED (
    SELECT place.depth, job.worker, job.state, job.took
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker, state, occurred_at - started_at AS took
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.job_id = place.job_id
          AND jobs.state IN ('retryable', 'cancelled', 'discarded', 'completed')
          AND jobs.occurred_at - jobs.started_at BETWEEN interval '0' AND interval '366 days'
        OFFSET 0
    ) AS job
),
ended AS (
    SELECT candidates.depth, candidates.worker, job.state, job.took
    FROM candidates
    CROSS JOIN LATERAL (
        SELECT state, occurred_at - started_at AS took
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.root_job_id = %(run)s
          AND jobs.depth = candidates.depth
          AND jobs.depth >= 0
          AND jobs.worker = candidates.worker
          AND jobs.state IN ('retryable', 'cancelled', 'discarded', 'completed')
          AND jobs.occurred_at - jobs.started_at BETWEEN interval '0' AND interval '366 days'
        OFFSET 0
    ) AS job
    UNION ALL
    SELECT walked.depth, walked.worker, walked.state, walked.took
    FROM walked
    JOIN candidates USING (depth, worker)
)
SELECT
    depth,
    worker,
    count(*) FILTER (WHERE state = 'completed') AS completed,
    extract(epoch FROM max(took))::double precision AS longest_seconds
FROM ended
GROUP BY depth, worker;

-- name: earlier_durations
-- The same for the same stages of earlier runs: those of the same worker's newest roots. A root's own duration counts at
-- depth 0 whatever place it says; below it only jobs that say their place count.
WITH earlier AS (
    SELECT job_id, state, occurred_at - started_at AS took
    FROM jobs
    WHERE namespace = %(namespace)s
      AND worker = %(root_worker)s
      AND (root_job_id = job_id OR (root_job_id = '' AND parent_job_id IN ('', job_id)))
      AND job_id <> %(run)s
    ORDER BY occurred_at DESC
    LIMIT %(earlier_runs)s
),
ended AS (
    SELECT 0 AS depth, %(root_worker)s::text AS worker, state, took
    FROM earlier
    WHERE state IN ('retryable', 'cancelled', 'discarded', 'completed')
      AND took BETWEEN interval '0' AND interval '366 days'
    UNION ALL
    SELECT candidate.depth, candidate.worker, job.state, job.took
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
    CROSS JOIN earlier
    CROSS JOIN LATERAL (
        SELECT state, occurred_at - started_at AS took
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.root_job_id = earlier.job_id
          AND jobs.depth = candidate.depth
          AND jobs.depth > 0
          AND jobs.worker = candidate.worker
          AND jobs.state IN ('retryable', 'cancelled', 'discarded', 'completed')
          AND jobs.occurred_at - jobs.started_at BETWEEN interval '0' AND interval '366 days'
        LIMIT %(jobs_a_stage)s
    ) AS job
)
SELECT
    depth,
    worker,
    count(*) FILTER (WHERE state = 'completed') AS completed,
    extract(epoch FROM max(took))::double precision AS longest_seconds
FROM ended
GROUP BY depth, worker;

-- name: overdue_executions
-- The jobs of these stages that have been executing since before a time, given for each stage (%(befores)s).
WITH candidates AS (
    SELECT depth, worker, before
    FROM unnest(%(depths)s::integer[], %(workers)s::text[], %(befores)s::timestamptz[])
        AS candidate (depth, worker, before)
),
walked AS MATERIALIZED (
    SELECT place.depth, job.worker, place.job_id, job.at
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker, coalesce(started_at, occurred_at) AS at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id AND jobs.state = 'executing'
        OFFSET 0
    ) AS job
)
SELECT candidates.depth, candidates.worker, job.job_id, job.at
FROM candidates
CROSS JOIN LATERAL (
    SELECT job_id, coalesce(started_at, occurred_at) AS at
    FROM jobs
    WHERE jobs.namespace = %(namespace)s
      AND jobs.root_job_id = %(run)s
      AND jobs.depth = candidates.depth
      AND jobs.depth >= 0
      AND jobs.worker = candidates.worker
      AND jobs.state = 'executing'
      AND coalesce(jobs.started_at, jobs.occurred_at) < candidates.before
    OFFSET 0
) AS job
UNION ALL
SELECT walked.depth, walked.worker, walked.job_id, walked.at
FROM walked
JOIN candidates USING (depth, worker)
WHERE walked.at < candidates.before;

-- name: life_below
-- For each job, what happens below it: when a job there last changed, whether one is ready or waits for another, and which
-- ones say that they execute. Jobs scheduled for later do not count. At most %(bound)s jobs are read: `is_whole` shows
-- whether those were all.
WITH RECURSIVE below (job_id, below_id) AS (
    SELECT asked.job_id COLLATE "C", asked.job_id COLLATE "C"
    FROM unnest(%(job_ids)s::text[]) AS asked (job_id)
    UNION
    SELECT below.job_id, edge.job_id
    FROM below
    CROSS JOIN LATERAL (
        SELECT lineage_edges.job_id
        FROM lineage_edges
        WHERE lineage_edges.namespace = %(namespace)s
          AND lineage_edges.upstream_job_id = below.below_id
          AND lineage_edges.kind = 'spawned'
        OFFSET 0
    ) AS edge
),
found AS MATERIALIZED (
    SELECT job_id, below_id FROM below LIMIT %(bound)s
)
SELECT
    found.job_id,
    max(job.occurred_at) AS changed_at,
    bool_or(job.is_open) AS is_open,
    coalesce(array_agg(found.below_id) FILTER (WHERE job.state = 'executing'), '{}') AS executing_ids,
    (SELECT count(*) FROM found) < %(bound)s AS is_whole
FROM found
LEFT JOIN LATERAL (
    SELECT
        state,
        occurred_at,
        state IN ('available', 'retryable', 'suspended') OR (state = 'scheduled' AND scheduled_at <= %(now)s) AS is_open
    FROM jobs
    WHERE jobs.namespace = %(namespace)s AND jobs.job_id = found.below_id AND found.below_id <> found.job_id
    OFFSET 0
) AS job ON true
GROUP BY found.job_id;

-- name: life_of_run
-- The same for the root: for all jobs of the run except itself. Which ones execute is already known.
SELECT max(occurred_at) AS changed_at, coalesce(bool_or(is_open), false) AS is_open
FROM (
    SELECT
        occurred_at,
        state IN ('available', 'retryable', 'suspended') OR (state = 'scheduled' AND scheduled_at <= %(now)s) AS is_open
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND job_id <> %(run)s
    UNION ALL
    SELECT job.occurred_at, job.is_open
    FROM unnest(%(walked_ids)s::text[]) AS place (job_id)
    CROSS JOIN LATERAL (
        SELECT
            occurred_at,
            state IN ('available', 'retryable', 'suspended') OR (state = 'scheduled' AND scheduled_at <= %(now)s)
                AS is_open
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
    WHERE place.job_id <> %(run)s
) AS others;

-- name: stage_facts
-- What the rule for "stuck" needs to know about a stage, in one pass over its jobs: for how many the time has come, since
-- when, and the last movement. Whether they wait for others, and the stage's pace, are read separately, only if it matters.
WITH candidates AS (
    SELECT depth, worker
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
),
walked AS MATERIALIZED (
    SELECT place.depth, job.worker, job.state, job.occurred_at, job.scheduled_at, job.started_at
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker, state, occurred_at, scheduled_at, started_at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
),
stage_jobs AS (
    SELECT candidates.depth, candidates.worker, job.state, job.occurred_at, job.scheduled_at, job.started_at
    FROM candidates
    CROSS JOIN LATERAL (
        SELECT state, occurred_at, scheduled_at, started_at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.root_job_id = %(run)s
          AND jobs.depth = candidates.depth
          AND jobs.depth >= 0
          AND jobs.worker = candidates.worker
        OFFSET 0
    ) AS job
    UNION ALL
    SELECT walked.depth, walked.worker, walked.state, walked.occurred_at, walked.scheduled_at, walked.started_at
    FROM walked
    JOIN candidates USING (depth, worker)
),
-- Only the columns that matter in a job's state are read for it.
by_state AS (
    SELECT
        depth,
        worker,
        state,
        count(*) FILTER (
            WHERE scheduled_at <= %(now)s OR (scheduled_at IS NULL AND state <> 'scheduled')
        ) AS ready,
        min(greatest(occurred_at, scheduled_at)) FILTER (
            WHERE scheduled_at <= %(now)s OR (scheduled_at IS NULL AND state <> 'scheduled')
        ) AS oldest_ready_at,
        max(started_at) AS newest_start_at,
        max(occurred_at) AS newest_at,
        max(occurred_at) FILTER (WHERE started_at IS NULL) AS newest_without_start_at
    FROM stage_jobs
    GROUP BY depth, worker, state
)
SELECT
    depth,
    worker,
    coalesce(sum(ready) FILTER (WHERE state IN ('available', 'retryable', 'suspended', 'scheduled')), 0)::bigint
        AS ready,
    min(oldest_ready_at) FILTER (WHERE state IN ('available', 'retryable', 'suspended', 'scheduled'))
        AS oldest_ready_at,
    greatest(
        max(newest_start_at),
        max(newest_at) FILTER (WHERE state IN ('retryable', 'cancelled', 'discarded', 'completed')),
        max(newest_without_start_at) FILTER (WHERE state = 'executing')
    ) AS last_movement_at
FROM by_state
GROUP BY depth, worker
ORDER BY depth, worker;

-- name: stage_ready
-- The jobs of these stages whose time has come and that do not wait for a job that is known and not over, and since when. A
-- dependency that was discarded or cancelled is over.
WITH candidates AS (
    SELECT depth, worker
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
),
walked AS MATERIALIZED (
    SELECT place.depth, job.worker, place.job_id, job.due_at
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker, greatest(occurred_at, scheduled_at) AS due_at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.job_id = place.job_id
          AND jobs.state IN ('available', 'retryable', 'suspended', 'scheduled')
          AND (jobs.scheduled_at <= %(now)s OR (jobs.scheduled_at IS NULL AND jobs.state <> 'scheduled'))
        OFFSET 0
    ) AS job
),
due AS MATERIALIZED (
    SELECT candidates.depth, candidates.worker, job.job_id, job.due_at
    FROM candidates
    CROSS JOIN LATERAL (
        SELECT job_id, greatest(occurred_at, scheduled_at) AS due_at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.root_job_id = %(run)s
          AND jobs.depth = candidates.depth
          AND jobs.depth >= 0
          AND jobs.worker = candidates.worker
          AND jobs.state IN ('available', 'retryable', 'suspended', 'scheduled')
          AND (jobs.scheduled_at <= %(now)s OR (jobs.scheduled_at IS NULL AND jobs.state <> 'scheduled'))
        OFFSET 0
    ) AS job
    UNION ALL
    SELECT walked.depth, walked.worker, walked.job_id, walked.due_at
    FROM walked
    JOIN candidates USING (depth, worker)
)
SELECT
    due.depth,
    due.worker,
    count(*) AS ready,
    min(greatest(due.due_at, dependency.over_at)) AS oldest_ready_at
FROM due
CROSS JOIN LATERAL (
    SELECT
        max(upstream.occurred_at) AS over_at,
        bool_or(upstream.state NOT IN ('completed', 'cancelled', 'discarded')) AS unfinished
    FROM (
        SELECT upstream_job_id
        FROM lineage_edges
        WHERE lineage_edges.namespace = %(namespace)s
          AND lineage_edges.job_id = due.job_id
          AND lineage_edges.kind = 'depends_on'
        OFFSET 0
    ) AS edge
    CROSS JOIN LATERAL (
        SELECT occurred_at, state
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = edge.upstream_job_id
        OFFSET 0
    ) AS upstream
) AS dependency
WHERE dependency.unfinished IS NOT TRUE
GROUP BY due.depth, due.worker;

-- name: stage_pace
-- The pace of a stage, from the newest of its jobs that started: the usual (95th percentile) time between two starts or
-- ends, and the usual wait between being ready and starting.
WITH candidates AS (
    SELECT depth, worker
    FROM unnest(%(depths)s::integer[], %(workers)s::text[]) AS candidate (depth, worker)
),
placed AS (
    SELECT candidates.depth, candidates.worker, started.*
    FROM candidates
    CROSS JOIN LATERAL (
        SELECT
            started_at,
            greatest(enqueued_at, scheduled_at) AS ready_at,
            CASE WHEN state <> 'executing' THEN occurred_at END AS ended_at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.root_job_id = %(run)s
          AND jobs.depth = candidates.depth
          AND jobs.depth >= 0
          AND jobs.worker = candidates.worker
          AND jobs.started_at IS NOT NULL
        ORDER BY started_at DESC
        LIMIT %(newest)s
    ) AS started
),
walked AS MATERIALIZED (
    SELECT place.depth, job.worker, job.started_at, job.ready_at, job.ended_at
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT
            worker,
            started_at,
            greatest(enqueued_at, scheduled_at) AS ready_at,
            CASE WHEN state <> 'executing' THEN occurred_at END AS ended_at
        FROM jobs
        WHERE jobs.namespace = %(namespace)s
          AND jobs.job_id = place.job_id
          AND jobs.started_at IS NOT NULL
        OFFSET 0
    ) AS job
),
newest AS MATERIALIZED (
    SELECT depth, worker, started_at, ready_at, ended_at
    FROM (
        SELECT
            *,
            row_number() OVER (PARTITION BY depth, worker ORDER BY started_at DESC) AS place
        FROM (
            SELECT * FROM placed
            UNION ALL
            SELECT walked.* FROM walked JOIN candidates USING (depth, worker)
        ) AS both_kinds
    ) AS numbered
    WHERE place <= %(newest)s
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
               -- The clocks of two hosts may differ a little. A job that is ready later than it started will run again.
               WHERE started_at - ready_at BETWEEN interval '-5 minutes' AND interval '366 days'
           ) AS seconds
    FROM newest
    GROUP BY depth, worker
)
SELECT depth, worker, usual_gaps.seconds AS usual_gap_seconds, usual_waits.seconds AS usual_wait_seconds
FROM usual_gaps
JOIN usual_waits USING (depth, worker)
ORDER BY depth, worker;
