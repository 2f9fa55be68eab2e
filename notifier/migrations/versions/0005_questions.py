"""Where rules that ask stand: when each was judged last, and its entities that are pending or firing."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table("questions", sa.Column("rule", sa.Text, primary_key=True), sa.Column("judged_ms", sa.Integer))
    op.create_table(
        "asked",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("rule", "entity")),
        *(sa.Column(name, sa.Integer) for name in ("pending_ms", "inside_ms", "starts_ms")),
        *(sa.Column(name, sa.Text) for name in ("incident_id", "severity", "service_name", "owner")),
    )
