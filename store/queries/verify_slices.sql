-- How the tables are cut for `jobtrail verify`, so that each comparison is small.

-- name: partition_bounds
-- Where a partition of `attempts` begins or ends, after the first time: what lies between two bounds is in one partition,
-- in the default one if it has no other.
SELECT bound::text
FROM (
    SELECT DISTINCT bound::timestamptz AS bound
    FROM pg_inherits
    JOIN pg_class AS partition
        ON partition.oid = pg_inherits.inhrelid
    CROSS JOIN LATERAL unnest(
        regexp_match(pg_get_expr(partition.relpartbound, partition.oid), $$FROM \('([^']+)'\) TO \('([^']+)'\)$$)
    ) AS bound
    WHERE pg_inherits.inhparent = 'attempts'::regclass
) AS bounds
WHERE bound > %(first)s::timestamptz
ORDER BY bounds.bound;

-- name: group_bounds
-- The last group of each slice; a slice has so many occurrences, and one group at the least.
SELECT max(id::text COLLATE "C") AS last_id
FROM (
    SELECT id, trunc(sum(greatest(occurrence_count, 1)) OVER (ORDER BY id) / %(occurrences)s) AS slice
    FROM failure_groups
) AS placed
GROUP BY slice
ORDER BY last_id;

-- name: next_job
-- The key that ends the next slice of jobs: none for the last.
SELECT namespace, job_id
FROM jobs
WHERE %(after_job_id)s::text IS NULL
   OR (namespace, job_id) > (%(after_namespace)s, %(after_job_id)s)
ORDER BY namespace, job_id
OFFSET %(rows)s - 1
LIMIT 1;

-- name: next_edge
SELECT namespace, upstream_job_id, kind, job_id
FROM lineage_edges
WHERE %(after_job_id)s::text IS NULL
   OR (namespace, upstream_job_id, kind, job_id)
      > (%(after_namespace)s, %(after_upstream)s, %(after_kind)s, %(after_job_id)s)
ORDER BY namespace, upstream_job_id, kind, job_id
OFFSET %(rows)s - 1
LIMIT 1;

-- name: rows_estimated
SELECT greatest(reltuples, 0)::bigint AS rows
FROM pg_class
WHERE oid = %(table)s::regclass;
