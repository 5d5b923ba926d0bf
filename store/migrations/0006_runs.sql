-- schema: jobtrail
-- minimum compatible: 6
--
-- What retention needs to treat a run as one thing: when a job was first heard of, whether a job is expired, and how far the
-- deletion of open jobs has come. Aggregators of the release before would not keep the first of these.

-- The least occurred_at of all its events. An event from before the horizon is merged only into a job of which no later event
-- is the earliest one known: so no late event brings back a job that was removed, and an event that was refused once is
-- refused whenever it comes again. Rows from before this migration do not know it: minus infinity. A rebuild finds it.
ALTER TABLE jobs ADD COLUMN earliest_at timestamptz NOT NULL DEFAULT '-infinity';

-- Whether retention may delete this job, as far as the job alone decides. A job that has ended is expired when its last event
-- is before the horizon. An open job is expired when its last event, and the time it is scheduled for, are before the horizon
-- of open jobs.
CREATE FUNCTION is_expired(job jobs, horizon_at timestamptz, open_horizon_at timestamptz) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (job).latest_at < horizon_at AND (
        (job).state IN ('cancelled', 'discarded', 'completed')
        OR greatest((job).latest_at, (job).scheduled_at) < open_horizon_at
    );

-- By which horizon of open jobs everything expired has been deleted.
ALTER TABLE derivation ADD COLUMN cleared_open_before timestamptz NOT NULL DEFAULT '-infinity';
