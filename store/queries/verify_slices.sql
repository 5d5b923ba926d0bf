-- Cut the tables into slices for `jobtrail verify`, so that each comparison is small.

-- name: partition_bounds
-- The times after the first one at which a partition of `attempts` begins or ends. Rows between two of them are in one
-- partition: the default one, if there is no other.
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
-- The last group of each slice. A slice has about this many occurrences, and at least one group.
SELECT max(id::text COLLATE "C") AS last_id
FROM (
    SELECT id, trunc(sum(greatest(occurrence_count, 1)) OVER (ORDER BY id) / %(occurrences)s) AS slice
    FROM failure_groups
) AS placed
GROUP BY slice
ORDER BY last_id;

-- name: next_job
-- The key that ends the next slice of jobs; no row for the last slice.
SELECT job_id, namespace
FROM jobs
WHERE %(after_job_id)s::text IS NULL
   OR (job_id, namespace) > (%(after_job_id)s, %(after_namespace)s)
ORDER BY job_id, namespace
OFFSET %(rows)s - 1
LIMIT 1;

-- name: next_edge
SELECT upstream_job_id, job_id, kind, namespace
FROM lineage_edges
WHERE %(after_job_id)s::text IS NULL
   OR (upstream_job_id, job_id, kind, namespace)
      > (%(after_upstream)s, %(after_job_id)s, %(after_kind)s, %(after_namespace)s)
ORDER BY upstream_job_id, job_id, kind, namespace
OFFSET %(rows)s - 1
LIMIT 1;

-- name: rows_estimated
SELECT greatest(reltuples, 0)::bigint AS rows
FROM pg_class
WHERE oid = %(table)s::regclass;
