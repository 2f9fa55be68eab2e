"""The gateway: an Arrow Flight server that speaks Dremio's protocol and dialect over the Iceberg tables.

sessions (who) -> dialect (text to plan) -> snapshots (which files at which commit) -> engine (DuckDB) -> server (wire).
Readers cannot tell it from Dremio; it is read-only, and refuses what Dremio refuses.
"""
