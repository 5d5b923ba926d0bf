-- Walk along the edges, several levels per query. Parameters: the jobs to start from (%(frontier)s), the most levels, and
-- the most rows. The rows come level by level, so if the limit cuts, all levels except the last one are whole. A job is in
-- each level at which it is reached; a circle ends with the last level. Each step looks up one job by the index: OFFSET 0
-- keeps the planner, which has no statistics of fresh tables, from joining in another way.

-- name: downstream
WITH RECURSIVE wave (level, job_id) AS (
    SELECT 0, start.job_id COLLATE "C"
    FROM unnest(%(frontier)s::text[]) AS start (job_id)
    UNION
    SELECT wave.level + 1, edge.job_id
    FROM wave
    CROSS JOIN LATERAL (
        SELECT lineage_edges.job_id
        FROM lineage_edges
        WHERE lineage_edges.namespace = %(namespace)s
          AND lineage_edges.upstream_job_id = wave.job_id
          AND lineage_edges.kind = ANY (%(kinds)s)
        OFFSET 0
    ) AS edge
    WHERE wave.level < %(most_levels)s
)
SELECT level, job_id
FROM wave
LIMIT %(most_rows)s;

-- name: upstream
WITH RECURSIVE wave (level, job_id) AS (
    SELECT 0, start.job_id COLLATE "C"
    FROM unnest(%(frontier)s::text[]) AS start (job_id)
    UNION
    SELECT wave.level + 1, edge.job_id
    FROM wave
    CROSS JOIN LATERAL (
        SELECT lineage_edges.upstream_job_id AS job_id
        FROM lineage_edges
        WHERE lineage_edges.namespace = %(namespace)s
          AND lineage_edges.job_id = wave.job_id
          AND lineage_edges.kind = ANY (%(kinds)s)
        OFFSET 0
    ) AS edge
    WHERE wave.level < %(most_levels)s
)
SELECT level, job_id
FROM wave
LIMIT %(most_rows)s;
