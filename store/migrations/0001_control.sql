-- schema: jobtrail_control
-- minimum compatible: 1
--
-- What survives a rebuild's swap: which migrations were applied, up to when history has been given up, and how far a
-- rebuild is.

CREATE TABLE migrations (
    version            integer     NOT NULL,
    minimum_compatible integer     NOT NULL,
    name               text        NOT NULL,
    applied_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT migrations_pkey PRIMARY KEY (version),
    CONSTRAINT migrations_compatible_check CHECK (minimum_compatible BETWEEN 1 AND version)
);

-- One row. An event that occurred before the horizon is counted as expired and not stored.
CREATE TABLE horizon (
    only_row   boolean     NOT NULL DEFAULT true,
    horizon_at timestamptz NOT NULL,
    CONSTRAINT horizon_pkey PRIMARY KEY (only_row),
    CONSTRAINT horizon_only_row_check CHECK (only_row),
    CONSTRAINT horizon_day_check CHECK (
        horizon_at = '-infinity' OR horizon_at = date_trunc('day', horizon_at, 'UTC')
    )
);

INSERT INTO horizon (horizon_at) VALUES ('-infinity');

-- Every rebuild that was started; at most one of them is open.
CREATE TABLE rebuilds (
    id                  bigint           GENERATED ALWAYS AS IDENTITY,
    topic               text COLLATE "C" NOT NULL,
    state               text COLLATE "C" NOT NULL DEFAULT 'loading',
    -- What made its tables; a swap is refused when the database has changed since.
    migration           integer          NOT NULL,
    fingerprint_version smallint         NOT NULL,
    -- Only what was published from this time on is read; NULL: everything. Rows of before may be lost then.
    history_from        timestamptz,
    started_at          timestamptz      NOT NULL DEFAULT now(),
    swapped_at          timestamptz,
    ended_at            timestamptz,
    -- Definitions of the indexes that are made when the tables are full.
    deferred_indexes    text[]           NOT NULL DEFAULT '{}',
    -- How the new tables compare to the old ones.
    report              jsonb,
    CONSTRAINT rebuilds_pkey PRIMARY KEY (id),
    CONSTRAINT rebuilds_state_check CHECK (state IN ('loading', 'following', 'swapped', 'done', 'abandoned'))
);

CREATE UNIQUE INDEX rebuilds_open_idx ON rebuilds ((true)) WHERE state IN ('loading', 'following', 'swapped');

-- How far a rebuild has read each partition of the topic: the last message whose rows are in its tables, (-1, -1, -1) for
-- none. Written in the transaction of those rows.
CREATE TABLE rebuild_positions (
    rebuild_id      bigint  NOT NULL,
    partition_index integer NOT NULL,
    ledger_id       bigint  NOT NULL DEFAULT -1,
    entry_id        bigint  NOT NULL DEFAULT -1,
    batch_index     integer NOT NULL DEFAULT -1,
    events          bigint  NOT NULL DEFAULT 0,
    expired         bigint  NOT NULL DEFAULT 0,
    dead_letters    bigint  NOT NULL DEFAULT 0,
    CONSTRAINT rebuild_positions_pkey PRIMARY KEY (rebuild_id, partition_index)
);
