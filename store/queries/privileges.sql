-- Owners and privileges of the live schema, as statements that give the rebuilt one the same. `store/rebuild/privileges.py`
-- runs them. Grants that people made are in no migration, and would be lost with their tables.

-- name: default_privileges
-- For tables created from now on: the partitions.
SELECT format(
    'ALTER DEFAULT PRIVILEGES FOR ROLE %%I IN SCHEMA %%I GRANT %%s ON %%s TO %%s%%s',
    pg_get_userbyid(defaclrole), %(target)s::text, privilege_type,
    CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END,
    CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
)
FROM pg_default_acl, aclexplode(defaclacl)
WHERE defaclnamespace = %(model)s::text::regnamespace

-- name: owners
WITH objects AS (
    SELECT 'SCHEMA' AS kind, quote_ident(target.nspname) AS name, model.nspowner AS wanted, target.nspowner AS owner
    FROM pg_namespace AS model, pg_namespace AS target
    WHERE model.nspname = %(model)s AND target.nspname = %(target)s
    UNION ALL
    SELECT 'TABLE', target.oid::regclass::text, model.relowner, target.relowner
    FROM pg_class AS model
    JOIN pg_class AS target USING (relname)
    WHERE model.relnamespace = %(model)s::text::regnamespace
        AND target.relnamespace = %(target)s::text::regnamespace
        AND target.relkind IN ('r', 'p')
    UNION ALL
    SELECT 'FUNCTION', target.oid::regprocedure::text, model.proowner, target.proowner
    FROM pg_proc AS model
    JOIN pg_proc AS target USING (proname, pronargs)
    WHERE model.pronamespace = %(model)s::text::regnamespace AND target.pronamespace = %(target)s::text::regnamespace
)
SELECT format('ALTER %%s %%s OWNER TO %%I', kind, name, pg_get_userbyid(wanted))
FROM objects
WHERE wanted <> owner

-- name: privileges
WITH objects AS (
    SELECT
        'SCHEMA' AS kind, quote_ident(target.nspname) AS name, '' AS columns,
        coalesce(model.nspacl, acldefault('n', model.nspowner)) AS wanted,
        coalesce(target.nspacl, acldefault('n', target.nspowner)) AS present
    FROM pg_namespace AS model, pg_namespace AS target
    WHERE model.nspname = %(model)s AND target.nspname = %(target)s
    UNION ALL
    SELECT
        'TABLE', target.oid::regclass::text, '', coalesce(model.relacl, acldefault('r', model.relowner)),
        coalesce(target.relacl, acldefault('r', target.relowner))
    FROM pg_class AS model
    JOIN pg_class AS target USING (relname)
    WHERE model.relnamespace = %(model)s::text::regnamespace
        AND target.relnamespace = %(target)s::text::regnamespace
        AND target.relkind IN ('r', 'p')
    UNION ALL
    SELECT
        'TABLE', target.oid::regclass::text, format(' (%%I)', of_target.attname), of_model.attacl, of_target.attacl
    FROM pg_class AS model
    JOIN pg_class AS target USING (relname)
    JOIN pg_attribute AS of_model ON of_model.attrelid = model.oid
    JOIN pg_attribute AS of_target ON of_target.attrelid = target.oid AND of_target.attname = of_model.attname
    WHERE model.relnamespace = %(model)s::text::regnamespace
        AND target.relnamespace = %(target)s::text::regnamespace
        AND target.relkind IN ('r', 'p')
        AND of_model.attacl IS NOT NULL
    UNION ALL
    SELECT
        'FUNCTION', target.oid::regprocedure::text, '', coalesce(model.proacl, acldefault('f', model.proowner)),
        coalesce(target.proacl, acldefault('f', target.proowner))
    FROM pg_proc AS model
    JOIN pg_proc AS target USING (proname, pronargs)
    WHERE model.pronamespace = %(model)s::text::regnamespace AND target.pronamespace = %(target)s::text::regnamespace
),
wanted AS (
    SELECT kind, name, columns, grantee, privilege_type, is_grantable
    FROM objects, aclexplode(wanted)
),
present AS (
    SELECT kind, name, columns, grantee, privilege_type, is_grantable
    FROM objects, aclexplode(present)
)
SELECT format(
    'REVOKE %%s%%s ON %%s %%s FROM %%s', privilege_type, columns, kind, name,
    CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
)
FROM (
    SELECT kind, name, columns, grantee, privilege_type
    FROM present
    EXCEPT
    SELECT kind, name, columns, grantee, privilege_type
    FROM wanted
) AS superfluous
UNION ALL
SELECT format(
    'GRANT %%s%%s ON %%s %%s TO %%s%%s', privilege_type, columns, kind, name,
    CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
)
FROM (
    SELECT kind, name, columns, grantee, privilege_type, is_grantable
    FROM wanted
    EXCEPT
    SELECT kind, name, columns, grantee, privilege_type, is_grantable
    FROM present
) AS missing
