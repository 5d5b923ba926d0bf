-- The names in the tables: read only when an answer is empty, to distinguish "nothing failed" from "no such name".

-- name: namespaces
-- One step through the index for each namespace, however many jobs there are.
WITH RECURSIVE known AS (
    (SELECT namespace FROM jobs ORDER BY namespace LIMIT 1)
    UNION ALL
    SELECT (SELECT jobs.namespace FROM jobs WHERE jobs.namespace > known.namespace ORDER BY jobs.namespace LIMIT 1)
    FROM known
    WHERE known.namespace IS NOT NULL
)
SELECT namespace AS name
FROM known
WHERE namespace IS NOT NULL
ORDER BY namespace;

-- name: sources
-- The sources of attempts that ended, and those of failure groups.
SELECT source AS name
FROM outcomes_hourly
WHERE %(namespace)s::text IS NULL OR namespace = %(namespace)s
GROUP BY source
UNION
SELECT source
FROM failure_groups
WHERE %(namespace)s::text IS NULL OR namespace = %(namespace)s
ORDER BY name;

-- name: categories
SELECT error_category AS name
FROM failure_groups
WHERE %(namespace)s::text IS NULL OR namespace = %(namespace)s
GROUP BY error_category
ORDER BY name;

-- name: dead_letter_topics
SELECT topic AS name
FROM dead_letters
GROUP BY topic
ORDER BY name;
