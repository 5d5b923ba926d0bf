-- One step along the edges, from all of a frontier at once.

-- name: downstream
SELECT DISTINCT edge.job_id
FROM lineage_edges AS edge
WHERE edge.namespace = %(namespace)s
  AND edge.upstream_job_id = ANY (%(frontier)s)
  AND edge.kind = ANY (%(kinds)s)
LIMIT %(bound)s;

-- name: downstream_unplaced
-- Only to jobs that do not say which run they belong to.
SELECT DISTINCT edge.job_id
FROM lineage_edges AS edge
JOIN jobs AS job
    ON job.namespace = %(namespace)s AND job.job_id = edge.job_id
WHERE edge.namespace = %(namespace)s
  AND edge.upstream_job_id = ANY (%(frontier)s)
  AND edge.kind = ANY (%(kinds)s)
  AND job.root_job_id = ''
LIMIT %(bound)s;

-- name: upstream
SELECT DISTINCT edge.upstream_job_id AS job_id
FROM lineage_edges AS edge
WHERE edge.namespace = %(namespace)s
  AND edge.job_id = ANY (%(frontier)s)
  AND edge.kind = ANY (%(kinds)s)
LIMIT %(bound)s;

-- name: upstream_near
-- All that is above one job, level by level, in one query. It ends where nothing new is above, or where it has met more
-- jobs than it is good for, and then it is not all.
WITH RECURSIVE wave AS (
    SELECT 0 AS level, ARRAY[%(job_id)s::text COLLATE "C"] AS frontier, ARRAY[%(job_id)s::text COLLATE "C"] AS seen
    UNION ALL
    SELECT wave.level + 1, next.job_ids, wave.seen || next.job_ids
    FROM wave
    CROSS JOIN LATERAL (
        SELECT array_agg(DISTINCT edge.upstream_job_id) AS job_ids
        FROM lineage_edges AS edge
        WHERE edge.namespace = %(namespace)s
          AND edge.job_id = ANY (wave.frontier)
          AND edge.kind = ANY (%(kinds)s)
          AND edge.upstream_job_id <> ALL (wave.seen)
    ) AS next
    WHERE next.job_ids IS NOT NULL
      AND cardinality(wave.seen) <= %(enough)s
)
SELECT wave.level, reached.job_id
FROM wave
CROSS JOIN LATERAL unnest(wave.frontier) AS reached (job_id);
