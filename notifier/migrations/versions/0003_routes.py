"""What routes need: whose an alert is, which route took it, and since when alerts of all severities are looked at."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("alerts", sa.Column("owner", sa.Text))
    op.add_column("deliveries", sa.Column("detail", sa.Text))
    op.add_column("deliveries", sa.Column("route", sa.Text))
    op.add_column("deliveries", sa.Column("interval_ms", sa.Integer))
    passing = "state = 'muted' AND reason IN ('maintenance', 'inhibited', 'mute_time')"
    op.create_index("deliveries_passing", "deliveries", ["incident_id"], sqlite_where=sa.text(passing))
    op.add_column("cursor", sa.Column("all_from_ms", sa.Integer))
    op.execute("UPDATE cursor SET all_from_ms = ingested_ms")
