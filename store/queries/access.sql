-- Privileges, for the cure of a refusal. `store/causes.py` runs these queries.

-- name: owner_of_tables
SELECT pg_get_userbyid(nspowner)
FROM pg_namespace
WHERE nspname = 'jobtrail_control'
