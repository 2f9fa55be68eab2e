"""Iceberg tables as their one writer writes them: snapshots composed in memory, put wherever the tables lie."""
