"""The deliberate breaks: each with the texts that it replaces and the tests that must catch it.

A break is a plausible mistake, which one person might write and a reviewer might miss. A rule that is written twice,
in the fold and in SQL, is broken in each place, one at a time.
"""

from typing import NamedTuple

FOLD = "derive/fold.py"
MERGE = "store/queries/merge.sql"
TABLES = "store/migrations/0002_derived.sql"
REUSED = "store/migrations/0005_reused_ids.sql"
RUNS = "store/migrations/0006_runs.sql"
RETENTION = "store/queries/retention.sql"
FINDER = "store/retention/runs.py"
REMOVER = "store/retention/jobs.py"
WRITER = "store/writing/writer.py"
STAGE = "store/writing/stage.py"
STAGES = "store/queries/stage.sql"
LOOP = "consumers/receiving/loop.py"
PIPELINE = "consumers/writing/pipeline.py"
COMPILED = "schemas/compiled.py"
SLICES = "schemas/slices.py"
TIMES = "schemas/times.py"

LAW = ("tests/law/test_law.py", "-k", "postgres18")
LAW_IN_A_LOCALE = ("tests/law/test_law.py", "-k", "postgres15")  # the one with ICU
RUNS_LAW = ("tests/law/test_runs.py", "-k", "postgres18")
NEVER_BACK = ("tests/integration/test_retention.py", "-k", "never_moves_back and postgres18")
TOUCHED = ("tests/integration/test_retention_runs.py", "-k", "writes_to")
FAULTS = ("tests/faults/test_matrix.py",)
ORDER = ("tests/integration/test_pipeline.py",)
ALIKE = ("tests/unit/test_decode_compiled.py",)
STORIES = ("tests/integration/test_reused_ids.py", "-k", "postgres18")
FOLDED = ("tests/unit/test_fold.py",)


class Edit(NamedTuple):
    """Replaces ``old`` by ``new`` in the file ``path`` (relative to the root)."""

    path: str
    old: str
    new: str


class Break(NamedTuple):
    """``tests``: arguments of pytest. The break is caught when one of them fails."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...] = LAW


_COUNTED = """\
INSERT INTO added_attempts (namespace, job_id, finished_at, state, worker, queue, source, failure_group_id)
SELECT namespace, job_id, finished_at, state, worker, queue, source, failure_group_id
FROM added
"""
_COUNTED_BY_MESSAGE = """\
INSERT INTO added_attempts (namespace, job_id, finished_at, state, worker, queue, source, failure_group_id)
SELECT namespace, job_id, micros_to_time(finished_at), state, worker, queue, source, nullif(failure_group_id, '')::uuid
FROM stage_attempts
"""
_LATER_CANDIDATE = "(candidate).attempt, (candidate).state_rank, (candidate).occurred_at, (candidate).state,"
_LATER_STORED = "(stored).attempt, (stored).state_rank, (stored).occurred_at, (stored).state,"
_AGGREGATES = """\
    if batch.groups:
        names += ["merge_group_jobs", "add_to_failure_groups", "add_to_failure_groups_hourly"]
    if batch.attempts:
        names.append("add_to_outcomes_hourly")
"""
_ROWS = """\
    if batch.attempts:
        names.append("merge_attempts")
"""
_LAST_OF_ADDED = '    source           text COLLATE "C",\n    failure_group_id uuid\n'
_LAST_OF_GROUPS = '    title          text COLLATE "C"\n'
_KEPT_STAGES_EMPTIED = """\
    connection.execute("DELETE FROM added_attempts")
    connection.execute("DELETE FROM stage_groups")
    copy_rows(connection, rows, reached)
"""

_LIVES_ITSELF = """\
         WHERE job_id = asked.run_id AND namespace = asked.namespace
           AND NOT is_expired("""
_LIVES_IN_RUN = """\
         WHERE namespace = asked.namespace AND root_job_id = asked.run_id
           AND NOT is_expired("""

BREAKS = (
    # Aggregates.
    Break("count by message instead of by new row", (Edit(MERGE, _COUNTED, _COUNTED_BY_MESSAGE),)),
    Break("aggregates before the rows they count", (Edit(WRITER, _ROWS + _AGGREGATES, _AGGREGATES + _ROWS),)),
    Break(
        "count every failed attempt as a job of its group",
        (
            Edit(
                MERGE,
                "INSERT INTO added_group_jobs (failure_group_id)\nSELECT failure_group_id\nFROM added\nWHERE is_new\n",
                "INSERT INTO added_group_jobs (failure_group_id)\nSELECT failure_group_id\nFROM added_attempts\n"
                "WHERE failure_group_id IS NOT NULL\n",
            ),
        ),
    ),
    Break(
        "keep the first title",
        (
            Edit(
                MERGE,
                "title = least(stored.title, excluded.title),",
                "title = stored.title,",
            ),
        ),
    ),
    Break(
        "keep an hour's first title",
        (
            Edit(
                MERGE,
                "title = least(stored.title, excluded.title)\n",
                "title = stored.title\n",
            ),
        ),
    ),
    Break(
        "a job's last failure is the one written last",
        (
            Edit(
                MERGE,
                "last_finished_at = greatest(stored.last_finished_at, excluded.last_finished_at)",
                "last_finished_at = excluded.last_finished_at",
            ),
        ),
    ),
    Break(
        "count a job again at each of its failures",
        (Edit(MERGE, "xmax = 0 AS is_new", "true AS is_new"),),
    ),
    Break(
        "first seen is the time written first",
        (
            Edit(
                MERGE,
                "first_seen_at = least(stored.first_seen_at, excluded.first_seen_at)",
                "first_seen_at = stored.first_seen_at",
            ),
        ),
    ),
    # The set of attempts.
    Break(
        "leave the digest out of the key",
        (
            Edit(
                TABLES,
                "PRIMARY KEY (job_id, attempt, finished_at, digest, namespace)",
                "PRIMARY KEY (job_id, attempt, finished_at, namespace)",
            ),
        ),
    ),
    Break(
        "a digest of nothing",
        (
            Edit(
                FOLD,
                """blake2b("\\0".join(map(str, said + raised)).encode(), digest_size=16)""",
                "blake2b(digest_size=16)",
            ),
        ),
    ),
    Break(
        "a digest without one field",
        (Edit(FOLD, "map(str, said + raised)", "map(str, said[:-1] + raised)"),),
    ),
    Break("a digest without the error", (Edit(FOLD, "map(str, said + raised)", "map(str, said)"),)),
    Break(
        "a digest that ignores whether there was an error",
        (Edit(FOLD, "said + raised)", "said + raised[1:])"),),
    ),
    # Which state is the latest.
    Break(
        "compare by time before rank, in SQL",
        (
            Edit(
                TABLES,
                _LATER_CANDIDATE,
                "(candidate).attempt, (candidate).occurred_at, (candidate).state_rank, (candidate).state,",
            ),
            Edit(
                TABLES,
                _LATER_STORED,
                "(stored).attempt, (stored).occurred_at, (stored).state_rank, (stored).state,",
            ),
        ),
    ),
    Break(
        "compare by time before rank, in the fold",
        (
            Edit(
                FOLD,
                "later: bool = one[_VERSION] > other[_VERSION]",
                "later: bool = (one[2], one[4], one[3]) > (other[2], other[4], other[3])",
            ),
        ),
    ),
    Break(
        "versions are not totally ordered, in SQL",
        (
            Edit(TABLES, "(candidate).release, (candidate).executor,", "(candidate).release,"),
            Edit(TABLES, "(stored).release, (stored).executor,", "(stored).release,"),
        ),
    ),
    Break(
        "versions are not totally ordered, in the fold",
        (
            Edit(
                FOLD,
                "row[_SCHEDULED_AT] != 0, *row[_FROM_SCHEDULED])",
                "row[_SCHEDULED_AT] != 0, *row[_FROM_SCHEDULED][:2])",
            ),
        ),
    ),
    Break(
        "compare with NULL",
        (
            Edit(TABLES, "coalesce((candidate).scheduled_at, '-infinity')", "(candidate).scheduled_at"),
            Edit(TABLES, "coalesce((stored).scheduled_at, '-infinity')", "(stored).scheduled_at"),
        ),
    ),
    Break(
        "an unknown time beats one before 1970",
        (
            Edit(
                FOLD,
                "row[_SCHEDULED_AT] != 0, *row[_FROM_SCHEDULED])",
                "*row[_FROM_SCHEDULED])",
            ),
        ),
        FOLDED,
    ),
    Break(
        "a version guard in a WHERE",
        (
            Edit(
                MERGE,
                "            WHEN has_later_args(excluded, stored) THEN excluded.args_occurred_at ELSE stored.args_occurred_at\n        END\n",
                "            WHEN has_later_args(excluded, stored) THEN excluded.args_occurred_at ELSE stored.args_occurred_at\n        END\n"
                "WHERE is_later(excluded, stored)\n",
            ),
        ),
    ),
    Break(
        "a job's latest time is that of its state, in SQL",
        (
            Edit(
                MERGE,
                "latest_at = greatest(stored.latest_at, excluded.latest_at)",
                "latest_at = CASE WHEN is_later(excluded, stored) THEN excluded.latest_at ELSE stored.latest_at END",
            ),
        ),
    ),
    Break(
        "a job's latest time is that of its state, in the fold",
        (Edit(FOLD, "max(one[_LATEST_AT], other[_LATEST_AT])", "winner[_OCCURRED_AT]"),),
    ),
    Break(
        "a job's earliest time is that of its state, in SQL",
        (
            Edit(
                MERGE,
                "earliest_at = least(stored.earliest_at, excluded.earliest_at)",
                "earliest_at = CASE WHEN is_later(excluded, stored) THEN excluded.earliest_at ELSE stored.earliest_at END",
            ),
        ),
    ),
    Break(
        "a job's earliest time is that of its state, in the fold",
        (Edit(FOLD, "min(one[_EARLIEST_AT], other[_EARLIEST_AT])", "winner[_OCCURRED_AT]"),),
    ),
    # Impossible times.
    Break(
        "accept every start",
        (
            Edit(
                FOLD,
                "(started_at and not -LONGEST_RUN_US <= started_at - occurred_at <= AHEAD_US)",
                "False",
            ),
            Edit(TIMES, "started_at and not -LONGEST_RUN_US <=", "started_at and not -(10**18) <="),
        ),
    ),
    Break(
        "accept a time a microsecond beyond the limit",
        (
            Edit(
                FOLD,
                "(enqueued_at and not -FARTHEST_US <= enqueued_at - occurred_at <= AHEAD_US)",
                "(enqueued_at and not -FARTHEST_US <= enqueued_at - occurred_at <= AHEAD_US + 1)",
            ),
        ),
        FOLDED,
    ),
    Break(
        "merge two ends that differ only in impossible times",
        (
            Edit(
                FOLD,
                "    raised = _NOTHING_RAISED if error is None",
                "    said = said if times is None else (*said[:5], *times, *said[8:])\n"
                "    raised = _NOTHING_RAISED if error is None",
            ),
        ),
    ),
    # Descriptors.
    Break(
        "take the first descriptor, in SQL",
        (
            Edit(
                MERGE,
                "source = least(stored.source, excluded.source)",
                "source = coalesce(stored.source, excluded.source)",
            ),
        ),
    ),
    Break(
        "take the first descriptor, in the fold",
        (Edit(FOLD, "return min(one, other) if one and other else one or other", "return one or other"),),
    ),
    Break(
        "take the last descriptor",
        (
            Edit(
                MERGE,
                "external_id = least(stored.external_id, excluded.external_id)",
                "external_id = coalesce(excluded.external_id, stored.external_id)",
            ),
        ),
    ),
    Break(
        "keep the earlier attempt's enqueued_at",
        (
            Edit(
                MERGE,
                "WHEN excluded.attempt > stored.attempt THEN excluded.enqueued_at",
                "WHEN excluded.attempt > stored.attempt THEN least(stored.enqueued_at, excluded.enqueued_at)",
            ),
        ),
    ),
    Break(
        "take started_at only from the winner",
        (
            Edit(
                MERGE,
                "WHEN excluded.attempt = stored.attempt THEN least(stored.started_at, excluded.started_at)",
                "WHEN is_later(excluded, stored) THEN excluded.started_at",
            ),
        ),
    ),
    Break(
        "keep the earlier attempt's times, in the fold",
        (
            Edit(
                FOLD,
                "    if winner[_ATTEMPT] == loser[_ATTEMPT]:\n",
                "    if winner[_ATTEMPT] >= loser[_ATTEMPT]:\n",
            ),
        ),
    ),
    Break(
        "merge root, parent and depth separately",
        (
            Edit(
                MERGE,
                "depth = CASE WHEN is_lesser_place(excluded, stored) THEN excluded.depth ELSE stored.depth END",
                "depth = greatest(stored.depth, excluded.depth)",
            ),
        ),
    ),
    Break(
        "an unknown root wins",
        (Edit(FOLD, """return (root == "", root, parent == "",""", """return (root, parent == "","""),),
    ),
    Break(
        "the last expected_children win",
        (
            Edit(
                MERGE,
                "ELSE merge_counts(stored.expected_children, excluded.expected_children)",
                "ELSE excluded.expected_children",
            ),
        ),
    ),
    Break(
        "the last meta wins, in the fold",
        (Edit(FOLD, "pick(merged[key], value) if key in merged else value", "value"),),
    ),
    Break(
        "counts compared as text",
        (
            Edit(
                TABLES,
                "SELECT key, max(value::bigint) AS value",
                'SELECT key, max(value COLLATE "C")::bigint AS value',
            ),
        ),
    ),
    Break(
        "keep the first args",
        (
            Edit(
                TABLES,
                "RETURN (candidate).args IS NOT NULL AND ((stored).args IS NULL OR (",
                "RETURN (candidate).args IS NOT NULL AND ((stored).args IS NULL OR false AND (",
            ),
        ),
    ),
    Break(
        "the last args win, in the fold",
        (Edit(FOLD, "_args_version(loser) > _args_version(winner)", "loser is other"),),
    ),
    # Ids that are used again.
    Break(
        "ignore a second end, in SQL",
        (
            Edit(
                REUSED,
                "THEN ((one).state_rank, (one).occurred_at) <> ((other).state_rank, (other).occurred_at)",
                "THEN false",
            ),
        ),
    ),
    Break(
        "ignore a second end, in the fold",
        (Edit(FOLD, "bool(other[_RANK_AND_TIME] != end[_RANK_AND_TIME])", "False"),),
    ),
    Break(
        "assume that all hosts' clocks agree, in SQL",
        (
            Edit(
                REUSED,
                "THEN (other).occurred_at - (one).occurred_at > interval '1 minute'",
                "THEN (other).occurred_at > (one).occurred_at",
            ),
        ),
    ),
    Break(
        "assume that all hosts' clocks agree, in the fold",
        (Edit(FOLD, "later_us > CLOCKS_DIFFER_US", "later_us > 0"),),
    ),
    Break(
        "ignore an execution that arrives after the end",
        (Edit(REUSED, "THEN (one).occurred_at - (other).occurred_at > interval '1 minute'", "THEN false"),),
        STORIES,
    ),
    Break(
        "ignore an execution that arrived before the end",
        (Edit(REUSED, "THEN (other).occurred_at - (one).occurred_at > interval '1 minute'", "THEN false"),),
        STORIES,
    ),
    Break(
        "ignore an execution after the end, in the fold",
        (Edit(FOLD, "other[_STATE_RANK] == _EXECUTING and later_us", "False and later_us"),),
        STORIES,
    ),
    Break(
        "a repeated attempt marks the next one, in SQL",
        (
            Edit(
                MERGE,
                "WHEN excluded.attempt > stored.attempt THEN excluded.is_repeated",
                "WHEN excluded.attempt > stored.attempt THEN coalesce(excluded.is_repeated, stored.is_repeated)",
            ),
        ),
    ),
    Break(
        "a repeated attempt marks the next one, in the fold",
        (
            Edit(
                FOLD,
                "    repeated = winner[_IS_REPEATED]\n",
                "    repeated = max(winner[_IS_REPEATED], loser[_IS_REPEATED])\n",
            ),
        ),
    ),
    Break(
        "lose a mark that the batch itself has",
        (Edit(MERGE, "WHEN stored.is_repeated OR excluded.is_repeated OR", "WHEN stored.is_repeated OR"),),
    ),
    Break(
        "lose the mark at the next event, in the fold",
        (
            Edit(FOLD, """if loser[_IS_REPEATED] == "t" or (""", "if ("),
            Edit(FOLD, "    repeated = winner[_IS_REPEATED]\n", """    repeated = "f"\n"""),
        ),
    ),
    Break(
        "lose the mark at the next event, in SQL",
        (Edit(MERGE, "WHEN stored.is_repeated OR excluded.is_repeated OR", "WHEN excluded.is_repeated OR"),),
    ),
    Break(
        "an end that is reported late counts as a reused id",
        (
            Edit(
                REUSED,
                "                    AND (earlier.finished_at, earlier.state) <> (last.finished_at, last.state)\n",
                "",
            ),
        ),
        STORIES,
    ),
    Break(
        "a job that waits for its retry counts as a reused id",
        (Edit(REUSED, "ELSE (job).state_rank >= 3", "ELSE (job).state_rank >= 2"),),
        STORIES,
    ),
    Break(
        "judge a job whose attempts were removed",
        (
            Edit(
                REUSED,
                "        AND (job).latest_at >= (SELECT horizon_at FROM jobtrail_control.horizon)\n",
                "",
            ),
        ),
        STORIES,
    ),
    Break(
        "only a repeated attempt counts as a reused id",
        (
            Edit(
                REUSED,
                "RETURN (job).is_repeated IS TRUE OR (",
                "RETURN (job).is_repeated IS TRUE OR false AND (",
            ),
        ),
        STORIES,
    ),
    # Order of text.
    Break(
        "order a descriptor by the locale",
        (
            Edit(
                TABLES,
                '    external_id       text COLLATE "C",\n    -- Merged as one',
                "    external_id       text,\n    -- Merged as one",
            ),
        ),
        LAW_IN_A_LOCALE,
    ),
    Break(
        "order meta by the locale", (Edit(TABLES, 'min(value COLLATE "C")', "min(value)"),), LAW_IN_A_LOCALE
    ),
    # Edges, horizon.
    Break("an edge from a job to itself", (Edit(FOLD, "if parent and parent != job_id:", "if parent:"),)),
    Break(
        "an event at the horizon is expired",
        (
            Edit(FOLD, "every if event.occurred_at >= horizon_us", "every if event.occurred_at > horizon_us"),
            Edit(FOLD, "every if event.occurred_at < horizon_us", "every if event.occurred_at <= horizon_us"),
        ),
    ),
    Break(
        "write a batch that was folded for another horizon",
        (Edit(WRITER, "if horizon_us != batch.horizon_us:", "if False:"),),
    ),
    # Events from before the horizon.
    Break(
        "a late event brings back a removed job",
        (
            Edit(
                WRITER,
                "    if job not in earliest:\n        return False\n",
                "    earliest.setdefault(job, None)\n",
            ),
        ),
    ),
    Break(
        "every known job accepts every late event",
        (Edit(WRITER, "cast(int, event.job[_EARLIEST_AT]) >= earliest_us", "True"),),
    ),
    Break(
        "refuse a late event with the same time as the earliest one",
        (Edit(WRITER, "event.job[_EARLIEST_AT]) >= earliest_us", "event.job[_EARLIEST_AT]) > earliest_us"),),
    ),
    Break(
        "refuse a late event although its job was known",
        (Edit(FOLD, "late = [event for event in every if event.occurred_at < horizon_us]", "late = []"),),
    ),
    Break(
        "a late event adds no edges",
        (Edit(FOLD, "        edges.update(dict.fromkeys(event.edges))\n", ""),),
    ),
    Break(
        "a late end is counted",
        (
            Edit(
                FOLD,
                "attempts=list(rows.attempts.values()),",
                "attempts=list(_rows(every).attempts.values()),",
            ),
        ),
    ),
    # What retention removes.
    Break(
        "a job is removed although its run lives",
        (
            Edit(
                RETENTION,
                _LIVES_IN_RUN,
                _LIVES_IN_RUN.replace("root_job_id = asked.run_id", "root_job_id = ''"),
            ),
        ),
        RUNS_LAW,
    ),
    Break(
        "an open job is removed like all others",
        (Edit(RUNS, "(job).state IN ('cancelled', 'discarded', 'completed')", "true"),),
        RUNS_LAW,
    ),
    Break(
        "an open job stays for ever",
        (Edit(RUNS, "greatest((job).latest_at, (job).scheduled_at) < open_horizon_at", "false"),),
        RUNS_LAW,
    ),
    Break(
        "a cancelled job counts as open",
        (Edit(RUNS, "IN ('cancelled', 'discarded', 'completed')", "IN ('discarded', 'completed')"),),
        RUNS_LAW,
    ),
    Break(
        "ignore the scheduled time of an open job",
        (Edit(RUNS, "greatest((job).latest_at, (job).scheduled_at)", "(job).latest_at"),),
        RUNS_LAW,
    ),
    Break(
        "keep an ended job as long as an open one",
        (Edit(RUNS, "(job).latest_at < horizon_at AND (", "(job).latest_at < open_horizon_at AND ("),),
        RUNS_LAW,
    ),
    Break(
        "a run of another namespace keeps a job",
        (
            Edit(
                RETENTION,
                _LIVES_ITSELF,
                _LIVES_ITSELF.replace(
                    "job_id = asked.run_id AND namespace = asked.namespace", "job_id = asked.run_id"
                ),
            ),
        ),
        RUNS_LAW,
    ),
    Break(
        "a job without a root is a run of its own",
        (
            Edit(
                RETENTION,
                "job.job_id = asked.run_id AND job.namespace = asked.namespace AND job.root_job_id = ''",
                "false",
            ),
            Edit(
                RETENTION,
                "        WHERE child.root_job_id = ''\n          AND (\n              SELECT true",
                "        WHERE false\n          AND (\n              SELECT true",
            ),
        ),
        RUNS_LAW,
    ),
    Break(
        "a root within another run is a run of its own",
        (
            Edit(RETENTION, "root_job_id NOT IN ('', asked.run_id)", "false"),
            Edit(RETENTION, "job.root_job_id = asked.run_id AND job.job_id <> asked.run_id", "false"),
        ),
        RUNS_LAW,
    ),
    Break(
        "follow only the first link of a run",
        (Edit(FINDER, "frontier = {run for run in linked if not together.lives(run)}", "frontier = set()"),),
        RUNS_LAW,
    ),
    Break(
        "keep the edges of a removed run",
        (
            Edit(
                REMOVER,
                'connection.execute(QUERIES["remove_edges"]).rowcount if jobs else 0',
                "0",
            ),
        ),
        RUNS_LAW,
    ),
    Break(
        "the horizon of open jobs moves back",
        (
            Edit(
                RETENTION,
                "open_horizon_at = greatest(open_horizon_at, %(open_horizon)s)\nWHERE",
                "open_horizon_at = %(open_horizon)s\nWHERE",
            ),
        ),
        NEVER_BACK,
    ),
    Break(
        "remove a part of a run that is being written to",
        (
            Edit(
                REMOVER,
                '    connection.execute(QUERIES["leave_touched_runs"], had)\n',
                "",
            ),
        ),
        TOUCHED,
    ),
    # Stages.
    Break(
        "forget to escape a backslash",
        (Edit(STAGE, """"\\\\" not in text and "\\r" not in""", """"\\r" not in"""),),
    ),
    Break("forget to escape a tab", (Edit(STAGE, """ and text.count("\\t") == tabs""", ""),)),
    # The transaction.
    Break(
        "two writers with different orders of tables",
        (
            Edit(WRITER, "    names: list[str] = []\n", "    import os\n    names: list[str] = []\n"),
            Edit(
                WRITER,
                "    return names\n",
                "    if os.getpid() % 2 and 'merge_attempts' in names:\n"
                "        names.remove('merge_attempts')\n        names.insert(0, 'merge_attempts')\n    return names\n",
            ),
        ),
    ),
    Break(
        "lock rows in the order of their arrival",
        (Edit(MERGE, "    FROM stage_jobs\n    ORDER BY job_id, namespace\n", "    FROM stage_jobs\n"),),
    ),
    Break(
        "leave the transaction open after an error",
        (
            Edit(
                WRITER,
                "        if not connection.closed:\n            connection.rollback()\n        raise\n",
                "        raise\n",
            ),
        ),
    ),
    Break(
        "commit the rows before their aggregates",
        (
            Edit(
                WRITER,
                "        changed[name] = cursor.rowcount\n",
                "        changed[name] = cursor.rowcount\n"
                "        if name == 'merge_attempts':\n            connection.commit()\n",
            ),
            Edit(WRITER, "    copy_rows(connection, rows, reached)\n", _KEPT_STAGES_EMPTIED),
            Edit(
                STAGES,
                f"{_LAST_OF_ADDED}) ON COMMIT DELETE ROWS",
                f"{_LAST_OF_ADDED}) ON COMMIT PRESERVE ROWS",
            ),
            Edit(
                STAGES,
                f"{_LAST_OF_GROUPS}) ON COMMIT DELETE ROWS",
                f"{_LAST_OF_GROUPS}) ON COMMIT PRESERVE ROWS",
            ),
        ),
    ),
    Break(
        "acknowledge before commit",
        (
            Edit(
                LOOP,
                "            processor.submit(received)\n",
                "            acknowledge(consumer, received.messages, settings)\n"
                "            processor.submit(received)\n",
            ),
        ),
        FAULTS,
    ),
    Break(
        "commit a batch although the previous one failed",
        (
            Edit(
                PIPELINE, "            before.written.result()\n", "            before.written.exception()\n"
            ),
        ),
        ORDER,
    ),
    # The compiled decoder.
    Break(
        "accept bytes after the event",
        (Edit(COMPILED, '        yield "if i != len(p): return None"\n', ""),),
        ALIKE,
    ),
    Break(
        "accept a NUL in a text",
        (Edit(COMPILED, """    yield "if '\\\\0' in s: return None"\n""", ""),),
        ALIKE,
    ),
    Break(
        "accept a negative length",
        (Edit(SLICES, '"past": [None if byte & NOT_SHORT', '"past": [None if byte & SHORT'),),
        ALIKE,
    ),
    Break(
        "decode text as Latin-1 instead of UTF-8",
        (Edit(SLICES, 'return text if text.isascii() else text.encode("latin-1").decode()', "return text"),),
        ALIKE,
    ),
    Break(
        "read a time before 1970 as one after it",
        (Edit(COMPILED, '            yield "    if n & 1: return None"\n', ""),),
        ALIKE,
    ),
)
