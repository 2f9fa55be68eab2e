"""From Dremio to a snapshot that all sessions share. Knows nothing of Panel."""
