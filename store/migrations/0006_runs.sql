-- schema: jobtrail
-- minimum compatible: 6
--
-- What retention needs to delete runs as a whole: the time of a job's earliest event, whether a job is expired, and how far
-- the deletion of open jobs has come. Aggregators of the previous release would not maintain the first of these.

-- The least occurred_at of the job's events. An event from before the horizon is merged only if the job has an event that is not
-- later. So no late event restores a job that was deleted, and an event that was refused once is refused whenever it is
-- delivered again. In rows from before this migration it is not known: minus infinity. A rebuild finds it.
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

-- The horizon of open jobs by which everything expired has been deleted.
ALTER TABLE derivation ADD COLUMN cleared_open_before timestamptz NOT NULL DEFAULT '-infinity';
