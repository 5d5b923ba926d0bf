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
