-- What a run lacks. Parameters as in answers_lineage.sql.

-- name: announced_children
-- What jobs said they would spawn, and what they did: a row for each job that spawned another number (`jobs` counts
-- all of these), and for those that kept their word a row for each kind of job (`jobs` counts its jobs).
WITH expecting AS (
    SELECT job_id, depth, worker, state, external_id, expected_children
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND expected_children IS NOT NULL
    UNION ALL
    SELECT job.job_id, place.depth, job.worker, job.state, job.external_id, job.expected_children
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = place.job_id
    WHERE job.expected_children IS NOT NULL
),
compared AS (
    SELECT
        expecting.job_id, expecting.depth, expecting.worker, expecting.state, expecting.external_id,
        child.key AS child_worker,
        child.value::numeric::bigint AS expected,
        (
            SELECT count(*)
            FROM lineage_edges AS edge
            JOIN jobs AS spawned
                ON spawned.namespace = edge.namespace AND spawned.job_id = edge.job_id
            WHERE edge.namespace = %(namespace)s
              AND edge.upstream_job_id = expecting.job_id
              AND edge.kind = 'spawned'
              AND spawned.worker = child.key
        ) AS spawned
    FROM expecting
    CROSS JOIN LATERAL jsonb_each_text(expecting.expected_children) AS child (key, value)
)
(
    SELECT
        job_id, depth, worker, state, external_id, child_worker, expected, spawned,
        count(*) OVER () AS jobs
    FROM compared
    WHERE spawned <> expected
    ORDER BY expected - spawned DESC, depth, worker, job_id, child_worker
    LIMIT %(limit)s
)
UNION ALL
(
    SELECT
        min(job_id), depth, worker, min(state), min(external_id), child_worker, sum(expected)::bigint,
        sum(spawned)::bigint, count(*)
    FROM compared
    WHERE spawned = expected
    GROUP BY depth, worker, child_worker
    ORDER BY depth, worker, child_worker
);

-- name: barren_jobs
-- Completed jobs without a child of a worker that siblings of their stage spawned, counted by stage and child worker,
-- with the first few named. A job that said how many it would spawn is judged by that alone (announced_children).
WITH completed AS MATERIALIZED (
    SELECT job_id, depth, worker, expected_children
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND state = 'completed'
    UNION ALL
    SELECT job.job_id, place.depth, job.worker, job.expected_children
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    JOIN jobs AS job
        ON job.namespace = %(namespace)s AND job.job_id = place.job_id
    WHERE job.state = 'completed'
),
fertile AS MATERIALIZED (
    SELECT DISTINCT parent.depth, parent.worker, parent.job_id, child.worker AS child_worker
    FROM completed AS parent
    JOIN lineage_edges AS edge
        ON edge.namespace = %(namespace)s AND edge.upstream_job_id = parent.job_id AND edge.kind = 'spawned'
    JOIN jobs AS child
        ON child.namespace = edge.namespace AND child.job_id = edge.job_id
),
offspring AS (
    SELECT depth, worker, child_worker, count(*) AS jobs
    FROM fertile
    GROUP BY depth, worker, child_worker
),
barren AS (
    SELECT
        offspring.depth, offspring.worker, offspring.child_worker, completed.job_id,
        row_number() OVER (
            PARTITION BY offspring.depth, offspring.worker, offspring.child_worker ORDER BY completed.job_id
        ) AS place
    FROM offspring
    JOIN completed USING (depth, worker)
    LEFT JOIN fertile
        ON fertile.job_id = completed.job_id AND fertile.child_worker = offspring.child_worker
    WHERE fertile.job_id IS NULL
      AND NOT coalesce(completed.expected_children ? offspring.child_worker, false)
),
counted AS (
    SELECT
        depth, worker, child_worker,
        count(*) AS without,
        array_agg(job_id ORDER BY job_id) FILTER (WHERE place <= %(limit)s) AS job_ids
    FROM barren
    GROUP BY depth, worker, child_worker
)
SELECT counted.depth, counted.worker, counted.child_worker, counted.without, offspring.jobs AS with_some, counted.job_ids
FROM counted
JOIN offspring USING (depth, worker, child_worker)
-- What most siblings did comes first: there a lack says most.
ORDER BY counted.without::double precision / offspring.jobs, counted.depth, counted.worker, counted.child_worker;
