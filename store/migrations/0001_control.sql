-- schema: jobtrail_control
-- minimum compatible: 1
--
-- What survives a rebuild's swap: which migrations were applied, and up to when history has been given up.

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
