-- schema: jobtrail
-- minimum compatible: 2
--
-- The derived tables: a function of the set of events, made anew by a rebuild in a schema of their own.
-- Text is compared by bytes (COLLATE "C") everywhere: Python and ICU order differently.
-- In the keys that every event looks up the namespace comes last: it is nearly always the same, and comparing then begins
-- with what differs.
-- Where a column can take part in a comparison of versions it is NOT NULL and has an empty value ('' , -1) instead.

-- Which rules the rows were derived by, and up to when retention has removed all that is old. One row.
CREATE TABLE derivation (
    only_row            boolean     NOT NULL DEFAULT true,
    fingerprint_version smallint    NOT NULL,
    cleared_before      timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT derivation_pkey PRIMARY KEY (only_row),
    CONSTRAINT derivation_only_row_check CHECK (only_row)
);

INSERT INTO derivation (fingerprint_version) VALUES (1);

-- Where each job stands now: a register, the latest event wins, descriptors merge column by column.
CREATE TABLE jobs (
    namespace         text COLLATE "C" NOT NULL,
    job_id            text COLLATE "C" NOT NULL,
    -- The winner's: (attempt, state_rank, occurred_at) and then every other column of this block is the version.
    attempt           integer          NOT NULL,
    state_rank        smallint         NOT NULL,
    occurred_at       timestamptz      NOT NULL,
    state             text COLLATE "C" NOT NULL,
    worker            text COLLATE "C" NOT NULL,
    queue             text COLLATE "C" NOT NULL,
    max_attempts      integer          NOT NULL,
    scheduled_at      timestamptz,
    release           text COLLATE "C" NOT NULL,
    executor          text COLLATE "C" NOT NULL,
    error_category    text COLLATE "C" NOT NULL,
    error_type        text COLLATE "C" NOT NULL,
    failure_group_id  uuid,
    -- The greatest occurred_at of all its events: a job goes when the last thing said of it is before the horizon.
    -- Without an index, which every event would have to change: retention reads the table part by part instead.
    latest_at         timestamptz      NOT NULL,
    -- The least within the winning attempt.
    enqueued_at       timestamptz,
    started_at        timestamptz,
    -- Merged: a value beats none, of two the lesser wins.
    source            text COLLATE "C",
    external_id       text COLLATE "C",
    -- Merged as one: a known root beats none, a known parent beats none, then the lesser (root, parent, depth).
    root_job_id       text COLLATE "C" NOT NULL,
    parent_job_id     text COLLATE "C" NOT NULL,
    depth             integer          NOT NULL,
    -- Merged key by key: of two values the greater count, the lesser text.
    expected_children jsonb,
    meta              jsonb,
    -- The latest event that brought any; the version of that event beside it.
    args              text COLLATE "C",
    args_attempt      integer,
    args_rank         smallint,
    args_occurred_at  timestamptz,
    CONSTRAINT jobs_pkey PRIMARY KEY (job_id, namespace),
    CONSTRAINT jobs_state_check CHECK (
        state IN ('suspended', 'scheduled', 'available', 'executing', 'retryable', 'cancelled', 'discarded', 'completed')
    ),
    CONSTRAINT jobs_attempt_check CHECK (attempt >= 1),
    CONSTRAINT jobs_max_attempts_check CHECK (max_attempts >= 0),
    CONSTRAINT jobs_depth_check CHECK (depth >= -1)
);

-- Answers "how many jobs of each stage of this run are in which state" alone.
CREATE INDEX jobs_run_stage_state_idx ON jobs (namespace, root_job_id, depth, worker, state);

-- The few jobs of a run that said how many children they are going to spawn.
CREATE INDEX jobs_expectations_idx ON jobs (namespace, root_job_id) WHERE expected_children IS NOT NULL;

-- The runs of a namespace, the latest change first.
CREATE INDEX jobs_roots_idx ON jobs (namespace, occurred_at DESC) WHERE depth = 0;

-- Microseconds since 1970 to a time, exactly: seconds as a float are whole, so nothing is rounded.
-- STABLE as its operators are; an immutable one could not be inlined.
CREATE FUNCTION micros_to_time(micros bigint) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN to_timestamp(micros / 1000000) + (micros % 1000000) * interval '1 microsecond';

-- Is `candidate` a later state of the job than `stored`? Made total by every column that the winner brings.
CREATE FUNCTION is_later(candidate jobs, stored jobs) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (
        (candidate).attempt, (candidate).state_rank, (candidate).occurred_at, (candidate).state, (candidate).worker,
        (candidate).queue, (candidate).max_attempts, coalesce((candidate).scheduled_at, '-infinity'),
        (candidate).release, (candidate).executor, (candidate).error_category, (candidate).error_type,
        coalesce((candidate).failure_group_id, '00000000-0000-0000-0000-000000000000')
    ) > (
        (stored).attempt, (stored).state_rank, (stored).occurred_at, (stored).state, (stored).worker,
        (stored).queue, (stored).max_attempts, coalesce((stored).scheduled_at, '-infinity'),
        (stored).release, (stored).executor, (stored).error_category, (stored).error_type,
        coalesce((stored).failure_group_id, '00000000-0000-0000-0000-000000000000')
    );

-- Are the candidate's arguments of a later event than the stored ones?
CREATE FUNCTION has_later_args(candidate jobs, stored jobs) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (candidate).args IS NOT NULL AND ((stored).args IS NULL OR (
        (candidate).args_attempt, (candidate).args_rank, (candidate).args_occurred_at, (candidate).args
    ) > (
        (stored).args_attempt, (stored).args_rank, (stored).args_occurred_at, (stored).args
    ));

-- Of two places in a run the lesser: a known root beats none, a known parent beats none.
CREATE FUNCTION is_lesser_place(candidate jobs, stored jobs) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (
        (candidate).root_job_id = '', (candidate).root_job_id, (candidate).parent_job_id = '',
        (candidate).parent_job_id, (candidate).depth = -1, (candidate).depth
    ) < (
        (stored).root_job_id = '', (stored).root_job_id, (stored).parent_job_id = '',
        (stored).parent_job_id, (stored).depth = -1, (stored).depth
    );

-- Of two maps of counts, key by key the greater.
CREATE FUNCTION merge_counts(one jsonb, other jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN one IS NULL OR one = other THEN other
        WHEN other IS NULL THEN one
        ELSE (
            SELECT jsonb_object_agg(entry.key, entry.value)
            FROM (
                SELECT key, max(value::bigint) AS value
                FROM (SELECT * FROM jsonb_each_text(one) UNION ALL SELECT * FROM jsonb_each_text(other)) AS every
                GROUP BY key
            ) AS entry
        )
    END;

-- Of two maps of texts, key by key the lesser.
CREATE FUNCTION merge_texts(one jsonb, other jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN one IS NULL OR one = other THEN other
        WHEN other IS NULL THEN one
        ELSE (
            SELECT jsonb_object_agg(entry.key, entry.value)
            FROM (
                SELECT key, min(value COLLATE "C") AS value
                FROM (SELECT * FROM jsonb_each_text(one) UNION ALL SELECT * FROM jsonb_each_text(other)) AS every
                GROUP BY key
            ) AS entry
        )
    END;

-- Finished attempts: a grow-only set. Two different ends of one attempt are both kept.
CREATE TABLE attempts (
    namespace         text COLLATE "C" NOT NULL,
    job_id            text COLLATE "C" NOT NULL,
    attempt           integer          NOT NULL,
    finished_at       timestamptz      NOT NULL,
    digest            uuid             NOT NULL,
    state             text COLLATE "C" NOT NULL,
    worker            text COLLATE "C" NOT NULL,
    queue             text COLLATE "C" NOT NULL,
    source            text COLLATE "C" NOT NULL,
    max_attempts      integer          NOT NULL,
    enqueued_at       timestamptz,
    scheduled_at      timestamptz,
    started_at        timestamptz,
    external_id       text COLLATE "C" NOT NULL,
    release           text COLLATE "C" NOT NULL,
    executor          text COLLATE "C" NOT NULL,
    failure_group_id  uuid,
    error_category    text COLLATE "C",
    error_type        text COLLATE "C",
    error_message     text COLLATE "C",
    error_stacktrace  text COLLATE "C",
    error_origin      text COLLATE "C",
    error_fingerprint text COLLATE "C",
    CONSTRAINT attempts_pkey PRIMARY KEY (job_id, attempt, finished_at, digest, namespace),
    CONSTRAINT attempts_state_check CHECK (state IN ('retryable', 'cancelled', 'discarded', 'completed')),
    CONSTRAINT attempts_failure_group_check CHECK (
        (failure_group_id IS NOT NULL) = (state IN ('retryable', 'discarded'))
    )
) PARTITION BY RANGE (finished_at);

-- Days outside the created ones; `store/partitions.py` creates a partition for each day that is near.
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

-- The few attempts in which a job may have recovered from an earlier failure.
CREATE INDEX attempts_late_success_idx ON attempts (finished_at, namespace, job_id)
    WHERE state = 'completed' AND attempt > 1;

-- Samples of a failure group, the newest first.
CREATE INDEX attempts_failure_group_idx ON attempts (failure_group_id, finished_at DESC)
    WHERE failure_group_id IS NOT NULL;

-- Who came from whom: a grow-only set.
CREATE TABLE lineage_edges (
    namespace       text COLLATE "C" NOT NULL,
    upstream_job_id text COLLATE "C" NOT NULL,
    job_id          text COLLATE "C" NOT NULL,
    kind            text COLLATE "C" NOT NULL,
    CONSTRAINT lineage_edges_pkey PRIMARY KEY (upstream_job_id, job_id, kind, namespace),
    CONSTRAINT lineage_edges_kind_check CHECK (kind IN ('spawned', 'depends_on'))
);

CREATE INDEX lineage_edges_upstream_idx ON lineage_edges (job_id, upstream_job_id, kind, namespace);

-- Messages that are no valid event: kept as they came, with the reason. A topic that was deleted and created again gives
-- its message ids a second time; so the publish time is part of the key. A publisher sets the schema version at will.
CREATE TABLE dead_letters (
    topic          text COLLATE "C" NOT NULL,
    message_id     text COLLATE "C" NOT NULL,
    reason         text COLLATE "C" NOT NULL,
    detail         text COLLATE "C" NOT NULL,
    payload        bytea            NOT NULL,
    message_key    text COLLATE "C" NOT NULL,
    publish_time   timestamptz      NOT NULL,
    schema_version bigint           NOT NULL,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (topic, message_id, publish_time)
);

CREATE INDEX dead_letters_publish_time_idx ON dead_letters (publish_time DESC);

-- Sums over the set `attempts`: what the insert into it returned is added, in the same transaction.
CREATE TABLE failure_groups (
    id               uuid             NOT NULL,
    namespace        text COLLATE "C" NOT NULL,
    source           text COLLATE "C" NOT NULL,
    error_category   text COLLATE "C" NOT NULL,
    error_type       text COLLATE "C" NOT NULL,
    fingerprint      text COLLATE "C" NOT NULL,
    title            text COLLATE "C" NOT NULL,
    occurrence_count bigint           NOT NULL,
    job_count        bigint           NOT NULL,
    first_seen_at    timestamptz      NOT NULL,
    last_seen_at     timestamptz      NOT NULL,
    CONSTRAINT failure_groups_pkey PRIMARY KEY (id),
    CONSTRAINT failure_groups_count_check CHECK (occurrence_count >= job_count AND job_count >= 0)
);

CREATE INDEX failure_groups_namespace_idx ON failure_groups (namespace, last_seen_at DESC);

-- Which jobs a group has met, which makes `job_count` exact, and when each last failed so, which tells whether it goes.
CREATE TABLE failure_group_jobs (
    failure_group_id uuid             NOT NULL,
    job_id           text COLLATE "C" NOT NULL,
    last_finished_at timestamptz      NOT NULL,
    CONSTRAINT failure_group_jobs_pkey PRIMARY KEY (failure_group_id, job_id)
);

-- The title is the least of the hour's failures: when an hour goes, that of the group is the least of the hours left.
CREATE TABLE failure_groups_hourly (
    failure_group_id uuid             NOT NULL,
    hour             timestamptz      NOT NULL,
    occurrence_count bigint           NOT NULL,
    title            text COLLATE "C" NOT NULL,
    CONSTRAINT failure_groups_hourly_pkey PRIMARY KEY (failure_group_id, hour),
    CONSTRAINT failure_groups_hourly_hour_check CHECK (hour = date_trunc('hour', hour, 'UTC'))
);

-- Ends of attempts by outcome; an hour is one of UTC.
CREATE TABLE outcomes_hourly (
    namespace text COLLATE "C" NOT NULL,
    source    text COLLATE "C" NOT NULL,
    worker    text COLLATE "C" NOT NULL,
    queue     text COLLATE "C" NOT NULL,
    hour      timestamptz      NOT NULL,
    completed bigint           NOT NULL,
    retryable bigint           NOT NULL,
    discarded bigint           NOT NULL,
    cancelled bigint           NOT NULL,
    CONSTRAINT outcomes_hourly_pkey PRIMARY KEY (namespace, source, worker, queue, hour),
    CONSTRAINT outcomes_hourly_hour_check CHECK (hour = date_trunc('hour', hour, 'UTC'))
);

CREATE INDEX outcomes_hourly_hour_idx ON outcomes_hourly (hour, namespace, source);
