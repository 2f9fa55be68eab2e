"""Dremio's SQL: its types, its functions, and how DuckDB computes the same."""
