-- Runs of maintenance begun in [:since, :until), newest first, at most :most.
SELECT
  started_at,
  "seconds",
  files_merged,
  files_written,
  rows_expired,
  commits_expired,
  files_deleted,
  bytes_deleted,
  log_rows_deleted
FROM {maintenance_runs}
WHERE started_at >= :since AND started_at < :until
ORDER BY started_at DESC
LIMIT :most
