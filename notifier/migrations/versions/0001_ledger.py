"""The first ledger: alerts seen, deliveries, the cursor, parked channels."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("alert_id", sa.Text, primary_key=True),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("alert_type", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("service_name", sa.Text),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("summary", sa.Text),
        sa.Column("runbook_url", sa.Text),
        sa.Column("metric_value", sa.Float),
        sa.Column("threshold", sa.Float),
        sa.Column("alert_ms", sa.Integer, nullable=False),
        sa.Column("received_ms", sa.Integer, nullable=False),
        sa.Column("ingested_ms", sa.Integer, nullable=False),
        sa.Column("starts_ms", sa.Integer, nullable=False),
        sa.Column("commit_id", sa.Text, nullable=False),
        sa.Column("seen_ms", sa.Integer, nullable=False),
    )
    op.create_index("alerts_incident", "alerts", ["incident_id"])
    op.create_table(
        "deliveries",
        sa.Column("delivery_key", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("alert_id", sa.Text, nullable=False),
        sa.Column("alert_count", sa.Integer, nullable=False),
        sa.Column("planned_ms", sa.Integer, nullable=False),
        sa.Column("not_before_ms", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("first_attempt_ms", sa.Integer),
        sa.Column("attempt_ms", sa.Integer),
        sa.Column("unreadable_since_ms", sa.Integer),
        sa.Column("possible_repeat", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("sent_ms", sa.Integer),
        sa.Column("receipt", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("updated_ms", sa.Integer, nullable=False),
        sa.UniqueConstraint("incident_id", "channel", "destination", "sequence"),
    )
    op.create_index(
        "deliveries_open",
        "deliveries",
        ["channel", "not_before_ms"],
        sqlite_where=sa.text("state IN ('planned', 'sending', 'unknown', 'retry')"),
    )
    op.create_index("deliveries_planned", "deliveries", ["planned_ms"])
    op.create_table(
        "cursor",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ingested_ms", sa.Integer),
        sa.Column("mute_before_ms", sa.Integer),
    )
    op.create_table(
        "parked",
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("until_ms", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
