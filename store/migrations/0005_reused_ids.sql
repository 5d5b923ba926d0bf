-- schema: jobtrail
-- minimum compatible: 5
--
-- If one id is used for several jobs, its events contradict each other, and the latest state of an attempt that has ended
-- hides what happened since. Aggregators of the previous release would not notice this.

-- True: the job's attempt ended twice, or was executing again after its end. NULL otherwise, so that it takes no space.
ALTER TABLE jobs ADD COLUMN is_repeated boolean;

-- Whether two rows of one attempt contradict each other. An attempt ends once, so its ends may not differ in state or time. And
-- it does not execute after its end; a minute is allowed for different clocks of two hosts.
CREATE FUNCTION contradicts(one jobs, other jobs) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN (one).state_rank >= 2 AND (other).state_rank >= 2
            THEN ((one).state_rank, (one).occurred_at) <> ((other).state_rank, (other).occurred_at)
        WHEN (one).state_rank >= 2 AND (other).state_rank = 1
            THEN (other).occurred_at - (one).occurred_at > interval '1 minute'
        WHEN (one).state_rank = 1 AND (other).state_rank >= 2
            THEN (one).occurred_at - (other).occurred_at > interval '1 minute'
        ELSE false
    END;

-- Whether the job's id was used again. Either its attempt is repeated, or the last event of the job is from more than a minute
-- after the event that its state comes from, and is
--   an end of an earlier attempt that had ended before (if it ended only once, its end was just noticed late); or
--   not an end, although the job is completed, discarded or cancelled.
-- This reads `attempts`, so call it only for the few jobs in jobs_reused_ids_idx. Ends from before the horizon are ignored,
-- because those attempts have been deleted.
CREATE FUNCTION has_reused_id(job jobs) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (job).is_repeated IS TRUE OR (
        (job).latest_at - (job).occurred_at > interval '1 minute'
        AND (job).latest_at >= (SELECT horizon_at FROM jobtrail_control.horizon)
        AND CASE
            WHEN EXISTS (
                SELECT
                FROM attempts AS last
                WHERE last.job_id = (job).job_id
                    AND last.finished_at = (job).latest_at
                    AND last.namespace = (job).namespace
            ) THEN EXISTS (
                SELECT
                FROM attempts AS last
                JOIN attempts AS earlier
                    ON earlier.job_id = last.job_id
                    AND earlier.attempt = last.attempt
                    AND earlier.namespace = last.namespace
                WHERE last.job_id = (job).job_id
                    AND last.finished_at = (job).latest_at
                    AND last.namespace = (job).namespace
                    AND (earlier.finished_at, earlier.state) <> (last.finished_at, last.state)
            )
            ELSE (job).state_rank >= 3
        END
    );

-- What the attempts in the tables show. Only a rebuild can find that an attempt was executing again after its end.
UPDATE jobs
SET is_repeated = true
FROM (
    SELECT namespace, job_id, attempt
    FROM attempts
    GROUP BY namespace, job_id, attempt
    HAVING min(finished_at) < max(finished_at) OR min(state) < max(state)
) AS repeated
WHERE jobs.job_id = repeated.job_id AND jobs.namespace = repeated.namespace AND jobs.attempt = repeated.attempt;

-- The few jobs for which `has_reused_id` may be true, by run.
CREATE INDEX jobs_reused_ids_idx ON jobs (namespace, root_job_id)
    WHERE is_repeated OR latest_at - occurred_at > interval '1 minute';
