"""Run by alembic; the connection is handed in by notifier.ledger."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None, render_as_batch=True)
context.run_migrations()
