-- schema: jobtrail
-- minimum compatible: 2
--
-- A job is the root of a run when it names itself as the root, or when nothing above it is known: no root, and no parent
-- except itself. Minimal publishers never send more.

DROP INDEX jobs_roots_idx;

-- The runs of a namespace, the latest change first.
CREATE INDEX jobs_roots_idx ON jobs (namespace, occurred_at DESC)
    WHERE root_job_id = job_id OR (root_job_id = '' AND parent_job_id IN ('', job_id));

-- The earlier runs of a root's worker, to find how long its jobs take.
CREATE INDEX jobs_root_workers_idx ON jobs (namespace, worker, occurred_at DESC)
    WHERE root_job_id = job_id OR (root_job_id = '' AND parent_job_id IN ('', job_id));

-- Jobs that name a parent but no root: they are found by their edges.
CREATE INDEX jobs_unplaced_idx ON jobs (namespace, job_id) WHERE root_job_id = '' AND parent_job_id <> '';

-- The few attempts in which a job may have recovered from an earlier failure, with all columns that decide whether it did, so
-- that no row of `attempts` is read.
DROP INDEX attempts_late_success_idx;
CREATE INDEX attempts_late_success_idx ON attempts (finished_at, namespace, job_id) INCLUDE (attempt, started_at)
    WHERE state = 'completed' AND attempt > 1;
