-- schema: jobtrail_triage
-- minimum compatible: 2
--
-- What people said of a failure group, keyed by the group's id. No rebuild touches it.

CREATE TABLE failure_groups (
    failure_group_id uuid        NOT NULL,
    status           text        NOT NULL,
    note             text        NOT NULL DEFAULT '',
    said_by          text        NOT NULL DEFAULT '',
    said_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT failure_groups_pkey PRIMARY KEY (failure_group_id),
    CONSTRAINT failure_groups_status_check CHECK (status IN ('open', 'resolved', 'ignored'))
);
