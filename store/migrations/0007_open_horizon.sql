-- schema: jobtrail_control
-- minimum compatible: 7
--
-- The horizon of open jobs, which are kept for longer than those that ended: it is never after the other horizon. The
-- previous release does not know it, and would delete too much.

ALTER TABLE horizon ADD COLUMN open_horizon_at timestamptz NOT NULL DEFAULT '-infinity';
ALTER TABLE horizon ADD CONSTRAINT horizon_open_check CHECK (
    open_horizon_at <= horizon_at
    AND (open_horizon_at = '-infinity' OR open_horizon_at = date_trunc('day', open_horizon_at, 'UTC'))
);
