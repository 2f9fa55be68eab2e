"""When the ledger was made, so that what had been published long before wakes nobody."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("cursor", sa.Column("born_ms", sa.Integer))
    op.execute("INSERT OR IGNORE INTO cursor (id) VALUES (1)")
