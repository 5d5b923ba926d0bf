-- schema: jobtrail
-- minimum compatible: 6
--
-- What retention needs to treat a run as one thing: when a job was first heard of, whether a job is over, and how far the
-- removal has come for open jobs. Aggregators of the release before would not keep the first of these.

-- The least occurred_at of all its events. An event from before the horizon is merged only into a job of which no later event
-- is the earliest one known: so no late event brings back a job that was removed, and an event that was refused once is
-- refused whenever it comes again. Rows from before this migration do not know it: minus infinity. A rebuild finds it.
ALTER TABLE jobs ADD COLUMN earliest_at timestamptz NOT NULL DEFAULT '-infinity';

-- Is everything of this job before the horizon, and is nothing of it to be expected? A job that has ended is over when its
-- last event is before the horizon. An open one is over only when nothing was heard of it since the horizon of open jobs,
-- counted from the time it is scheduled for, if that is later.
CREATE FUNCTION is_expired(job jobs, horizon_at timestamptz, open_horizon_at timestamptz) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (job).latest_at < horizon_at AND (
        (job).state IN ('cancelled', 'discarded', 'completed')
        OR greatest((job).latest_at, (job).scheduled_at) < open_horizon_at
    );

-- Up to which horizon of open jobs the removal is done.
ALTER TABLE derivation ADD COLUMN cleared_open_before timestamptz NOT NULL DEFAULT '-infinity';
