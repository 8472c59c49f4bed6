"""The raw SQL of the outbox: one statement where the ORM would need many, or cannot say it at all."""

#: Names of the advisory locks, so that no other part of the project takes the same by chance.
NUMBERING_LOCK = 0x6F757400
LANE_LOCK = 0x6F757401
SEALING_LOCK = 0x6F757403
COLLECTING_LOCK = 0x6F757404

# The ORM has no advisory locks. Released when the transaction ends, after its rows have become visible.
LOCK_FOR_TRANSACTION = "SELECT pg_advisory_xact_lock(%s)"

# The ORM spends three times as long on an INSERT as the server does, and every change comes through here.
# Moments are by the database's clock. The id is taken once the transaction has its number: services/ground.py counts on
# it, and CASE keeps the order.
PUBLISH = """
    INSERT INTO outbox_entry (id, event_id, kind, type, aggregate, lane, subject, routing_key, data, traceparent,
        created_at, status, attempts, max_attempts, error)
    VALUES (CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('outbox_entry_id_seq') END,
        %s, %s, %s, %s, %s, %s, %s, %s, %s, statement_timestamp(), 'pending', 0, 12, '')
    RETURNING id
"""

# Ids are given in the order of the SELECT, so each aggregate keeps the order of the list; the condition is looked at
# before any is taken.
PUBLISH_MANY = """
    INSERT INTO outbox_entry (event_id, kind, type, aggregate, lane, subject, routing_key, data, traceparent,
        created_at, status, attempts, max_attempts, error)
    SELECT event_id, kind, type, aggregate, lane, subject, routing_key, data::jsonb, traceparent,
        statement_timestamp(), 'pending', 0, 12, ''
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::smallint[], %s::text[], %s::text[], %s::text[],
            %s::text[])
        WITH ORDINALITY AS new (event_id, kind, type, aggregate, lane, subject, routing_key, data, traceparent, place)
    WHERE pg_current_xact_id() IS NOT NULL
    ORDER BY place
"""

# Below which number every transaction had ended when the statement began; and up to where ids have been taken.
_ENDED = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_REACHED = "coalesce(pg_sequence_last_value('outbox_entry_id_seq'), 0)"
_TOP = "(SELECT coalesce(max(sequence), 0) FROM outbox_entry)"

# A number that is greater than that of every transaction that has one. (A snapshot's xmax is not: it tells of those
# that have ended.) It writes nothing, so nothing is waited for.
NEW_TRANSACTION = "SELECT pg_current_xact_id()::text::bigint"

# The answers come from the ends of an index; ORDER BY keeps the planner from reading the table, which it would after a
# look at a moment when much was new. Asked with every wake-up, twice.
STREAM_STATE = f"""
    SELECT (SELECT id FROM outbox_entry WHERE sequence IS NULL AND id > %s ORDER BY id LIMIT 1) IS NOT NULL,
        {_TOP}, {_ENDED}, {_REACHED}
"""  # noqa: S608 - only constants go in

# The ORM cannot update from an ordered subquery. nextval is called in the order of the inner query. Three statements in
# one round trip, which is one transaction: each sees what was committed before it began, so the second sees what the
# holder of the lock before us has numbered.
NUMBER = f"""
    SELECT {_ENDED}, pg_advisory_xact_lock({NUMBERING_LOCK});
    UPDATE outbox_entry AS entry SET sequence = numbered.position
    FROM (
        SELECT id, nextval('outbox_position') AS position
        FROM (
            SELECT id FROM outbox_entry WHERE sequence IS NULL AND id > %(ground)s ORDER BY id LIMIT %(chunk)s
        ) AS waiting
    ) AS numbered
    WHERE entry.id = numbered.id
    RETURNING entry.lane;
    SELECT {_TOP}, {_REACHED};
"""  # noqa: S608 - only constants go in

# A lane is locked for the session, not for a transaction: none stays open while messages travel, and the server
# releases the lock of a relay that was killed.
LOCK_LANES = """
    SELECT lane FROM unnest(%(lanes)s::int[]) AS lane WHERE pg_try_advisory_lock(%(lock)s::int, lane)
"""
UNLOCK_LANES = """
    SELECT bool_and(pg_advisory_unlock(%(lock)s::int, lane)) FROM unnest(%(lanes)s::int[]) AS lane
"""

# The ORM has no LATERAL. Counts stop at the limit: a backlog of a million costs what one of a batch costs.
READY_LANES = """
    SELECT asked.lane, fresh.waiting + failed.waiting
    FROM unnest(%(lanes)s::int[], %(floors)s::bigint[]) AS asked (lane, floor),
    LATERAL (
        SELECT count(*) AS waiting FROM (
            SELECT 1 FROM outbox_entry
            WHERE lane = asked.lane AND status = 'pending' AND next_attempt_at IS NULL AND sequence > asked.floor
            LIMIT %(limit)s
        ) AS counted
    ) AS fresh,
    LATERAL (
        SELECT count(*) AS waiting FROM outbox_entry
        WHERE lane = asked.lane AND status = 'pending' AND next_attempt_at <= statement_timestamp()
    ) AS failed
    WHERE fresh.waiting + failed.waiting > 0
"""

_COLUMNS = (
    "id, lane, event_id, kind, type, aggregate, subject, routing_key, data::text, traceparent, created_at, sequence"
)

# What failed before, once due, unless something of its aggregate that failed before it is not due yet.
CLAIM_FAILED = f"""
    SELECT {_COLUMNS} FROM outbox_entry AS entry
    WHERE lane = ANY(%(lanes)s) AND status = 'pending' AND next_attempt_at <= statement_timestamp()
        AND NOT EXISTS (
            SELECT 1 FROM outbox_entry AS earlier
            WHERE earlier.aggregate = entry.aggregate AND earlier.sequence < entry.sequence
                AND earlier.status = 'pending' AND earlier.next_attempt_at > statement_timestamp()
        )
    ORDER BY sequence
    LIMIT %(limit)s
"""  # noqa: S608 - only constants go in

# What was never tried, lane by lane in order, except of an aggregate that has a failed entry to bring first.
# The last column: whether the lane holds failed entries, so that something may have been left out.
CLAIM_FRESH = f"""
    SELECT entry.*, troubled.troubled
    FROM unnest(%(lanes)s::int[], %(floors)s::bigint[]) AS asked (lane, floor),
    LATERAL (
        SELECT EXISTS (
            SELECT 1 FROM outbox_entry
            WHERE lane = asked.lane AND status = 'pending' AND next_attempt_at IS NOT NULL
        ) AS troubled
    ) AS troubled,
    LATERAL (
        SELECT {_COLUMNS} FROM outbox_entry AS entry
        WHERE lane = asked.lane AND status = 'pending' AND next_attempt_at IS NULL AND sequence > asked.floor
            AND NOT EXISTS (
                SELECT 1 FROM outbox_entry AS earlier
                WHERE earlier.aggregate = entry.aggregate
                    AND earlier.status = 'pending' AND earlier.next_attempt_at IS NOT NULL
            )
        ORDER BY sequence
        LIMIT %(limit)s
    ) AS entry
"""  # noqa: S608 - only constants go in

# The ORM's bulk_update writes a CASE per row; this is one plan for any number of rows.
MARK_DELIVERED = """
    UPDATE outbox_entry
    SET status = 'delivered', delivered_at = statement_timestamp(), attempts = attempts + 1, error = ''
    WHERE id = ANY(%(ids)s) AND status = 'pending'
"""

# Waits double from one second to an hour, and vary by a half so that what failed together does not return together.
MARK_FAILED = """
    UPDATE outbox_entry AS entry
    SET attempts = attempts + 1,
        error = failed.error,
        status = CASE WHEN failed.final OR attempts + 1 >= max_attempts THEN 'dead' ELSE 'pending' END,
        next_attempt_at = statement_timestamp()
            + interval '1 second' * least(power(2, attempts), 3600) * (0.5 + random())
    FROM unnest(%(ids)s::bigint[], %(errors)s::text[], %(finals)s::boolean[]) AS failed (id, error, final)
    WHERE entry.id = failed.id AND entry.status = 'pending'
"""

# Counts stop at the limit: a scrape must stay cheap when the outbox is not.
BACKLOG = """
    SELECT
        (SELECT count(*) FROM (
            SELECT 1 FROM outbox_entry WHERE status = 'pending' AND sequence IS NOT NULL AND next_attempt_at IS NULL
            LIMIT %(limit)s
        ) AS fresh)
        + (SELECT count(*) FROM (
            SELECT 1 FROM outbox_entry WHERE status = 'pending' AND next_attempt_at IS NOT NULL LIMIT %(limit)s
        ) AS failed)
        + (SELECT count(*) FROM (SELECT 1 FROM outbox_entry WHERE sequence IS NULL LIMIT %(limit)s) AS unnumbered),
        (SELECT count(*) FROM (SELECT 1 FROM outbox_entry WHERE status = 'dead' LIMIT %(limit)s) AS dead),
        extract(epoch FROM statement_timestamp() - least(
            (SELECT created_at FROM outbox_entry WHERE sequence IS NULL ORDER BY id LIMIT 1),
            (SELECT min(created_at) FROM outbox_entry WHERE status = 'pending' AND next_attempt_at IS NOT NULL),
            (SELECT min(first.created_at) FROM generate_series(0, %(lanes)s - 1) AS lane, LATERAL (
                SELECT created_at FROM outbox_entry
                WHERE outbox_entry.lane = lane AND status = 'pending' AND sequence IS NOT NULL
                    AND next_attempt_at IS NULL
                ORDER BY sequence LIMIT 1
            ) AS first)
        ))
"""

# The ORM cannot delete with a limit. The newest number stays: readers ask how far the stream reaches. How far was
# deleted is noted, so that a reader who was away too long is told; the dead and what came late may be older than that.
PURGE_DELIVERED = """
    WITH gone AS (
        DELETE FROM outbox_entry WHERE id IN (
            SELECT id FROM outbox_entry
            WHERE status = 'delivered' AND delivered_at < %(before)s
                AND sequence < (SELECT max(sequence) FROM outbox_entry)
            ORDER BY sequence
            LIMIT %(limit)s
        )
        RETURNING sequence
    )
    SELECT sequence, (
        SELECT setval('outbox_purged', greatest(max(sequence), (SELECT last_value FROM outbox_purged))) FROM gone
    ) FROM gone
"""
PURGED_THROUGH = "SELECT last_value FROM outbox_purged"

DEAD_AND_LIVE = "SELECT n_dead_tup, n_live_tup FROM pg_stat_user_tables WHERE relid = 'outbox_entry'::regclass"
# If autovacuum is at it already, that will do. Without truncating, which would lock writers out.
VACUUM = "VACUUM (SKIP_LOCKED, TRUNCATE false) outbox_entry"

# --- Audit log ---

# As above. The acts are signed already: they are written as they are.
_ACT = "uid, at, actor, source, ip, request_id, action, target_type, target_id, target_name, before, after, reason,"
_ACT += " key_id, mac"
RECORD_ACT = f"""
    INSERT INTO outbox_auditentry ({_ACT})
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s, %s, %s)
    RETURNING id
"""  # noqa: S608 - only constants go in
RECORD_ACTS = f"""
    INSERT INTO outbox_auditentry ({_ACT})
    SELECT uid, at, actor, source, ip, request_id, action, target_type, target_id, target_name,
        before::jsonb, after::jsonb, reason, key_id, mac
    FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
        WITH ORDINALITY AS act ({_ACT}, place)
    ORDER BY place
"""  # noqa: S608 - only constants go in

# Asked for each batch before anything else is: where nobody wants to be told, the ORM would be most of the cost.
WHO_LISTENS = """
    SELECT EXISTS (SELECT FROM outbox_webhook WHERE active), EXISTS (SELECT FROM outbox_notificationtarget WHERE active)
"""

# --- Webhooks ---

WEBHOOK_CLAIM_LOCK = 0x6F757402

# The ORM has no LATERAL: so many of each receiver, however long the line of another is. A receiver that fails gets one
# request at a time, so that those which never answer do not take all the senders. The lease, not a lock, keeps others
# away, because the request outlives this transaction.
CLAIM_DELIVERIES = """
    UPDATE outbox_webhookdelivery SET leased_until = statement_timestamp() + make_interval(secs => %(lease)s)
    WHERE id IN (
        SELECT due.id FROM outbox_webhook AS webhook,
        LATERAL (
            SELECT count(*) AS busy FROM outbox_webhookdelivery
            WHERE webhook_id = webhook.id AND status = 'pending' AND leased_until > statement_timestamp()
        ) AS flight,
        LATERAL (
            SELECT id FROM outbox_webhookdelivery
            WHERE webhook_id = webhook.id AND status = 'pending' AND next_attempt_at <= statement_timestamp()
                AND (leased_until IS NULL OR leased_until <= statement_timestamp())
            ORDER BY next_attempt_at, id
            LIMIT greatest(
                0, CASE WHEN webhook.failing_since IS NULL THEN %(concurrency)s ELSE 1 END - flight.busy
            )
        ) AS due
        WHERE webhook.active AND (webhook.resting_until IS NULL OR webhook.resting_until <= statement_timestamp())
        ORDER BY random()
        LIMIT %(room)s
    )
    RETURNING id
"""

# The ORM cannot delete with a limit, and would read the attempts to delete them one by one.
PURGE_DELIVERIES = """
    WITH old AS (
        SELECT id FROM outbox_webhookdelivery WHERE settled_at < %(before)s ORDER BY settled_at LIMIT %(limit)s
    ), attempts AS (
        DELETE FROM outbox_webhookattempt WHERE delivery_id IN (SELECT id FROM old)
    )
    DELETE FROM outbox_webhookdelivery WHERE id IN (SELECT id FROM old)
"""

# As the relay reads them: the data as the text that goes into the envelope.
EVENTS_BY_ID = f"SELECT {_COLUMNS} FROM outbox_entry WHERE event_id = ANY(%s)"  # noqa: S608 - only constants go in

# The stream for a reader: in the columns that an envelope is made of, which the ORM would decode and encode again.
STREAM_PAGE = f"""
    SELECT {_COLUMNS} FROM outbox_entry
    WHERE kind = 'event' AND sequence > %(after)s AND sequence <= %(end)s AND type ~ %(types)s
        AND (%(projects)s::text[] IS NULL OR data ->> 'project' IS NULL OR data ->> 'project' = ANY(%(projects)s))
    ORDER BY sequence
    LIMIT %(limit)s
"""  # noqa: S608 - only constants go in
