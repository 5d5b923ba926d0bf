-- schema: jobtrail
-- minimum compatible: 2
--
-- A job is the root of a run when it names itself as the root, or when nothing above it is known: no root, and no parent
-- but itself. Publishers that send little never say more.

DROP INDEX jobs_roots_idx;

-- The runs of a namespace, the latest change first.
CREATE INDEX jobs_roots_idx ON jobs (namespace, occurred_at DESC)
    WHERE root_job_id = job_id OR (root_job_id = '' AND parent_job_id IN ('', job_id));

-- The earlier runs of a root's worker: how long its jobs take.
CREATE INDEX jobs_root_workers_idx ON jobs (namespace, worker, occurred_at DESC)
    WHERE root_job_id = job_id OR (root_job_id = '' AND parent_job_id IN ('', job_id));

-- Jobs that name a parent and no root: they are found by their edges.
CREATE INDEX jobs_unplaced_idx ON jobs (namespace, job_id) WHERE root_job_id = '' AND parent_job_id <> '';

-- The few attempts in which a job may have recovered from an earlier failure, with all that tells whether it did: so no
-- attempt itself is read.
DROP INDEX attempts_late_success_idx;
CREATE INDEX attempts_late_success_idx ON attempts (finished_at, namespace, job_id) INCLUDE (attempt, started_at)
    WHERE state = 'completed' AND attempt > 1;
