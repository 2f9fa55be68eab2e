"""Alembic's folder: one file a change of the ledger's tables, run at start."""
