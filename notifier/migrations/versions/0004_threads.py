"""One outage, one thread: incidents, threads, who has what, and its history."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_GROUP = "incident_id="


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("incident_id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text) for name in ("rule", "severity", "service_name", "owner", "source", "newest_alert")),
        *(
            sa.Column(name, sa.Integer)
            for name in ("starts_ms", "newest_ms", "alerts", "resolved_ms", "level", "next_ms")
        ),
        *(sa.Column(name, sa.Integer) for name in ("level_ms", "told_ms", "revision")),
        sa.Column("old", sa.Boolean),
        *(sa.Column(name, sa.Text) for name in ("ack_by", "ack_via", "ack_note", "ack_severity")),
        *(sa.Column(name, sa.Integer) for name in ("ack_ms", "ack_until_ms")),
    )
    op.create_index("incidents_open", "incidents", ["newest_ms"], sqlite_where=sa.text("resolved_ms IS NULL"))
    op.create_index("incidents_revision", "incidents", ["revision"])
    op.create_table(
        "threads",
        sa.Column("thread_id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text) for name in ("channel", "destination", "group_key", "kind", "fold", "severity")),
        *(sa.Column(name, sa.Text) for name in ("recurs", "root")),
        *(sa.Column(name, sa.Integer) for name in ("opened_ms", "sequence", "open_members", "all_members")),
        *(
            sa.Column(name, sa.Integer)
            for name in ("newest_ms", "edited_ms", "resolved_ms", "interval_ms", "repeat_ms")
        ),
        sa.Column("as_new_kind", sa.Boolean),
    )
    op.create_index("threads_group", "threads", ["group_key", "resolved_ms"])
    op.create_index("threads_opened", "threads", ["opened_ms"])
    op.create_table(
        "members",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("incident_id", "channel", "destination")),
        *(sa.Column(name, sa.Text) for name in ("thread_id", "route", "muted")),
        sa.Column("since_ms", sa.Integer),
        sa.Column("over", sa.Boolean),
    )
    op.create_index("members_thread", "members", ["thread_id", "over"])
    op.create_table(
        "history",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text) for name in ("incident_id", "who", "via", "action", "note")),
        sa.Column("at_ms", sa.Integer),
    )
    op.create_index("history_incident", "history", ["incident_id", "number"])
    op.create_table(
        "silences",
        sa.Column("silence_id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text) for name in ("matchers", "reason", "who", "via", "ended_by")),
        *(sa.Column(name, sa.Integer) for name in ("created_ms", "until_ms", "ended_ms")),
    )
    op.create_table(
        "marks",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.Text) for name in ("text", "who", "via")),
        sa.Column("at_ms", sa.Integer),
    )
    op.create_table(
        "answers",
        sa.Column("key", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text) for name in ("request", "answer")),
        *(sa.Column(name, sa.Integer) for name in ("status", "at_ms")),
    )
    op.create_index("incidents_next", "incidents", ["next_ms"], sqlite_where=sa.text("next_ms IS NOT NULL"))
    op.create_table("state", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))
    op.add_column("alerts", sa.Column("source", sa.Text))
    op.execute("UPDATE alerts SET source = 'table'")
    _deliveries()
    op.drop_table("parked")
    op.create_table(
        "parked",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("channel", "destination")),
        *(sa.Column(name, sa.Text) for name in ("why", "reason")),
        *(sa.Column(name, sa.Integer) for name in ("until_ms", "since_ms")),
    )
    db = op.get_bind()
    _incidents(db)
    _threads(db)


def _deliveries() -> None:
    """The same table without one number a message of an incident: now it is one of its thread."""
    for index in ("deliveries_open", "deliveries_planned", "deliveries_passing"):
        op.drop_index(index)
    op.rename_table("deliveries", "deliveries_before")
    texts = ("channel", "destination", "incident_id", "kind", "state", "alert_id")
    optional = ("thread_id", "reason", "detail", "route", "receipt", "error")
    numbers = ("sequence", "alert_count", "planned_ms", "not_before_ms", "updated_ms")
    moments = ("first_attempt_ms", "attempt_ms", "unreadable_since_ms", "sent_ms")
    op.create_table(
        "deliveries",
        sa.Column("delivery_key", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        *(sa.Column(name, sa.Text) for name in optional),
        *(sa.Column(name, sa.Integer, nullable=False) for name in numbers),
        *(sa.Column(name, sa.Integer) for name in moments),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("possible_repeat", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("broadcast", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("interval_ms", sa.Integer),
    )
    same = (*texts, *(name for name in optional if name != "thread_id"), *numbers, *moments)
    kept = ", ".join(("delivery_key", *same, "attempts", "possible_repeat", "interval_ms"))
    op.execute(f"INSERT INTO deliveries ({kept}) SELECT {kept} FROM deliveries_before")
    op.drop_table("deliveries_before")
    still = "state IN ('planned', 'sending', 'unknown', 'retry', 'parked')"
    op.create_index("deliveries_open", "deliveries", ["channel", "not_before_ms"], sqlite_where=sa.text(still))
    op.create_index("deliveries_planned", "deliveries", ["planned_ms"])
    passing = "state = 'muted' AND reason IN ('maintenance', 'silenced', 'inhibited', 'mute_time')"
    op.create_index("deliveries_passing", "deliveries", ["incident_id"], sqlite_where=sa.text(passing))
    op.create_index("deliveries_incident", "deliveries", ["incident_id"])
    op.create_index("deliveries_thread", "deliveries", ["thread_id", "sequence"])


def _incidents(db: sa.Connection) -> None:
    """Of the alerts that were seen. One that only ended never fired."""
    db.execute(
        sa.text(
            """
            INSERT INTO incidents (incident_id, rule, severity, service_name, owner, source, starts_ms, newest_ms,
                                   newest_alert, alerts, old, level, revision)
            SELECT incident_id, rule, severity, service_name, owner, 'table', starts_ms, max(alert_ms), alert_id,
                   count(*), 0, 0, 0
            FROM alerts WHERE status = 'FIRING' GROUP BY incident_id
            """
        )
    )
    db.execute(
        sa.text(
            """
            UPDATE incidents SET resolved_ms = (
                SELECT max(alert_ms) FROM alerts
                WHERE alerts.incident_id = incidents.incident_id AND status = 'RESOLVED'),
              old = NOT EXISTS (
                SELECT 1 FROM deliveries
                WHERE deliveries.incident_id = incidents.incident_id AND (state <> 'muted' OR reason <> 'old')),
              told_ms = (
                SELECT min(planned_ms) FROM deliveries
                WHERE deliveries.incident_id = incidents.incident_id
                  AND state IN ('sent', 'planned', 'retry', 'unknown'))
            """
        )
    )


def _threads(db: sa.Connection) -> None:
    """What was said of each incident at each place is a thread of its own."""
    rows = db.execute(
        sa.text(
            """
            SELECT d.incident_id, d.channel, d.destination, max(d.sequence) AS sequence, min(d.planned_ms) AS opened_ms,
                   max(coalesce(d.sent_ms, d.not_before_ms)) AS newest_ms, max(d.kind = 'resolved') AS over,
                   max(d.interval_ms) AS interval_ms, i.rule, i.severity, i.service_name, i.resolved_ms
            FROM deliveries d JOIN incidents i USING (incident_id)
            WHERE d.state <> 'muted' AND d.state <> 'dead'
            GROUP BY d.incident_id, d.channel, d.destination
            """
        )
    ).all()
    for row in rows:
        place = {"channel": row.channel, "destination": row.destination, "incident_id": row.incident_id}
        parts = (row.channel, row.destination, _GROUP + row.incident_id, row.incident_id)
        thread_id = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        over = row.over or row.resolved_ms is not None
        root = db.execute(
            sa.text(
                "SELECT receipt FROM deliveries WHERE incident_id = :incident_id AND channel = :channel AND "
                "destination = :destination AND state = 'sent' ORDER BY sequence LIMIT 1"
            ),
            place,
        ).scalar()
        db.execute(
            sa.text(
                "INSERT INTO threads VALUES (:thread_id, :channel, :destination, :group_key, 'group', :fold, "
                ":severity, :recurs, :root, :opened_ms, :sequence, :open, 1, :newest_ms, NULL, :resolved_ms, "
                ":interval_ms, NULL, 0)"
            ),
            {
                **place,
                "thread_id": thread_id,
                "group_key": _GROUP + row.incident_id,
                "fold": row.rule,
                "severity": row.severity,
                "recurs": f'["{row.rule} "]',
                "root": root,
                "opened_ms": row.opened_ms,
                "sequence": row.sequence,
                "open": 0 if over else 1,
                "newest_ms": row.newest_ms,
                "resolved_ms": row.newest_ms if over else None,
                "interval_ms": row.interval_ms or 60_000,
            },
        )
        db.execute(
            sa.text(
                "INSERT INTO members VALUES (:incident_id, :channel, :destination, :thread_id, '', '{}', :at, :over)"
            ),
            {**place, "thread_id": thread_id, "at": row.opened_ms, "over": bool(over)},
        )
        db.execute(
            sa.text(
                "UPDATE deliveries SET thread_id = :thread_id WHERE incident_id = :incident_id AND channel = :channel "
                "AND destination = :destination"
            ),
            {**place, "thread_id": thread_id},
        )
