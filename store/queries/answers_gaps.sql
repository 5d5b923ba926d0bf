-- What a run lacks. Parameters and form as in answers_lineage.sql.

-- name: announced_children
-- What jobs announced that they would spawn, and what they did spawn. `kind` says what a row is:
--   'missing'  one job that spawned too many, or that is over and spawned too few; `rows` counts all of these;
--   'kept'     the jobs of a stage that spawned just as many as they announced; `rows` counts such stages;
--   'pending'  the jobs of a stage that spawned too few so far, and are not over; `rows` counts such stages.
-- Each kind has its first rows, up to the limit.
WITH expecting AS (
    SELECT job_id, depth, worker, state, external_id, expected_children
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND expected_children IS NOT NULL
    UNION ALL
    SELECT place.job_id, place.depth, job.worker, job.state, job.external_id, job.expected_children
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker, state, external_id, expected_children
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
    WHERE job.expected_children IS NOT NULL
),
compared AS MATERIALIZED (
    SELECT
        expecting.job_id, expecting.depth, expecting.worker, expecting.state, expecting.external_id,
        child.key AS child_worker,
        child.value::numeric::bigint AS expected,
        spawned.jobs AS spawned
    FROM expecting
    CROSS JOIN LATERAL jsonb_each_text(expecting.expected_children) AS child (key, value)
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs
        FROM (
            SELECT lineage_edges.job_id
            FROM lineage_edges
            WHERE lineage_edges.namespace = %(namespace)s
              AND lineage_edges.upstream_job_id = expecting.job_id
              AND lineage_edges.kind = 'spawned'
            OFFSET 0
        ) AS edge
        CROSS JOIN LATERAL (
            SELECT
            FROM jobs
            WHERE jobs.namespace = %(namespace)s AND jobs.job_id = edge.job_id AND jobs.worker = child.key
            OFFSET 0
        ) AS spawned
    ) AS spawned
),
judged AS (
    SELECT
        *,
        CASE
            WHEN spawned = expected THEN 'kept'
            WHEN spawned < expected AND state NOT IN ('completed', 'cancelled', 'discarded') THEN 'pending'
            ELSE 'missing'
        END AS kind
    FROM compared
)
(
    SELECT
        kind, job_id, depth, worker, state, external_id, child_worker, expected, spawned, 1::bigint AS jobs,
        count(*) OVER () AS rows
    FROM judged
    WHERE kind = 'missing'
    ORDER BY expected - spawned DESC, depth, worker, job_id, child_worker
    LIMIT %(limit)s
)
UNION ALL
(
    SELECT
        kind, min(job_id), depth, worker, min(state), min(external_id), child_worker, sum(expected)::bigint,
        sum(spawned)::bigint, count(*), count(*) OVER ()
    FROM judged
    WHERE kind = 'kept'
    GROUP BY kind, depth, worker, child_worker
    ORDER BY depth, worker, child_worker
    LIMIT %(limit)s
)
UNION ALL
(
    SELECT
        kind, min(job_id), depth, worker, min(state), min(external_id), child_worker, sum(expected)::bigint,
        sum(spawned)::bigint, count(*), count(*) OVER ()
    FROM judged
    WHERE kind = 'pending'
    GROUP BY kind, depth, worker, child_worker
    ORDER BY depth, worker, child_worker
    LIMIT %(limit)s
);

-- name: childless
-- Completed jobs without a child of a worker that siblings spawned. Siblings are the jobs of one stage whose parents have
-- the same worker. A job that announced a number for that worker is judged by its announcement alone (announced_children).
-- Where at most one child of each parent spawned such a job (the body of a chord), no single job can lack it: then the
-- children of one parent are counted together (`of_parents`), if all of them have completed.
-- A pair of workers that both occur at several depths is a recursion, which ends at some depth: it is left out.
WITH placed AS (
    SELECT job_id, parent_job_id, depth, worker, state, expected_children
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
    UNION ALL
    SELECT place.job_id, job.parent_job_id, place.depth, job.worker, job.state, job.expected_children
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT parent_job_id, worker, state, expected_children
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
),
run_jobs AS MATERIALIZED (
    SELECT
        job_id, depth, worker, state, expected_children,
        CASE
            WHEN parent_job_id <> '' THEN parent_job_id
            WHEN depth <> 0 THEN (
                SELECT min(edge.upstream_job_id)
                FROM lineage_edges AS edge
                WHERE edge.namespace = %(namespace)s AND edge.job_id = placed.job_id AND edge.kind = 'spawned'
            )
        END AS parent_job_id
    FROM placed
),
workers AS (
    SELECT worker, count(DISTINCT depth) > 1 AS recurs
    FROM run_jobs
    GROUP BY worker
),
parents AS (
    SELECT spawning.parent_job_id, job.worker
    FROM (SELECT DISTINCT parent_job_id FROM run_jobs WHERE parent_job_id IS NOT NULL) AS spawning
    CROSS JOIN LATERAL (
        SELECT worker
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = spawning.parent_job_id
        OFFSET 0
    ) AS job
),
-- Each job with its set of siblings: the children of its parent; the job itself if no parent is known.
members AS MATERIALIZED (
    SELECT
        run_jobs.job_id, run_jobs.depth, run_jobs.worker, run_jobs.state, run_jobs.expected_children,
        coalesce(run_jobs.parent_job_id, run_jobs.job_id) AS set_id,
        coalesce(parents.worker, '') AS parent_worker
    FROM run_jobs
    LEFT JOIN parents USING (parent_job_id)
),
spawning AS MATERIALIZED (
    SELECT members.job_id, members.depth, members.worker, members.set_id, members.parent_worker, child.worker AS child_worker
    FROM members
    CROSS JOIN LATERAL (
        SELECT DISTINCT job.worker
        FROM (
            SELECT lineage_edges.job_id
            FROM lineage_edges
            WHERE lineage_edges.namespace = %(namespace)s
              AND lineage_edges.upstream_job_id = members.job_id
              AND lineage_edges.kind = 'spawned'
            OFFSET 0
        ) AS edge
        CROSS JOIN LATERAL (
            SELECT worker
            FROM jobs
            WHERE jobs.namespace = %(namespace)s AND jobs.job_id = edge.job_id
            OFFSET 0
        ) AS job
    ) AS child
    WHERE members.state = 'completed'
),
kinds AS MATERIALIZED (
    SELECT spawning.depth, spawning.parent_worker, spawning.worker, spawning.child_worker, count(*) AS with_some
    FROM spawning
    JOIN workers AS own
        ON own.worker = spawning.worker
    LEFT JOIN workers AS below
        ON below.worker = spawning.child_worker
    WHERE NOT (own.recurs AND coalesce(below.recurs, false))
    GROUP BY spawning.depth, spawning.parent_worker, spawning.worker, spawning.child_worker
),
sets AS MATERIALIZED (
    SELECT depth, parent_worker, set_id, count(*) AS jobs, bool_and(state = 'completed') AS all_completed
    FROM members
    GROUP BY depth, parent_worker, set_id
),
spawning_sets AS MATERIALIZED (
    SELECT depth, parent_worker, child_worker, set_id, count(*) AS spawning_jobs
    FROM spawning
    GROUP BY depth, parent_worker, child_worker, set_id
),
shapes AS MATERIALIZED (
    SELECT
        depth, parent_worker, spawning_sets.child_worker,
        max(spawning_sets.spawning_jobs) = 1 AND bool_or(sets.jobs > 1) AS one_of_a_set,
        count(*) AS with_some
    FROM spawning_sets
    JOIN sets USING (depth, parent_worker, set_id)
    GROUP BY depth, parent_worker, spawning_sets.child_worker
),
lacking AS MATERIALIZED (
    SELECT kinds.depth, kinds.parent_worker, kinds.worker, kinds.child_worker, members.job_id, members.set_id
    FROM kinds
    JOIN members USING (depth, parent_worker, worker)
    LEFT JOIN spawning
        ON spawning.job_id = members.job_id AND spawning.child_worker = kinds.child_worker
    WHERE members.state = 'completed'
      AND spawning.job_id IS NULL
      AND NOT coalesce(members.expected_children ? kinds.child_worker, false)
),
found AS (
    SELECT
        false AS of_parents, lacking.depth, lacking.worker, lacking.child_worker, lacking.parent_worker, lacking.job_id,
        kinds.with_some
    FROM lacking
    JOIN kinds USING (depth, parent_worker, worker, child_worker)
    JOIN shapes USING (depth, parent_worker, child_worker)
    WHERE NOT shapes.one_of_a_set
    UNION ALL
    SELECT DISTINCT
        true, lacking.depth - 1, lacking.parent_worker, lacking.child_worker, '', lacking.set_id, shapes.with_some
    FROM lacking
    JOIN shapes USING (depth, parent_worker, child_worker)
    JOIN sets USING (depth, parent_worker, set_id)
    LEFT JOIN spawning_sets USING (depth, parent_worker, child_worker, set_id)
    WHERE shapes.one_of_a_set
      AND sets.all_completed
      AND spawning_sets.spawning_jobs IS NULL
),
numbered AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY of_parents, depth, worker, child_worker, parent_worker ORDER BY job_id) AS place
    FROM found
)
SELECT
    of_parents, depth, worker, child_worker, with_some,
    count(*) AS without,
    array_agg(job_id ORDER BY job_id) FILTER (WHERE place <= %(limit)s) AS job_ids,
    count(*) OVER () AS rows
FROM numbered
GROUP BY of_parents, depth, worker, child_worker, parent_worker, with_some
-- What most siblings did comes first: there a missing child means most.
ORDER BY count(*)::double precision / with_some, depth, worker, child_worker, of_parents, parent_worker
LIMIT %(limit)s;
