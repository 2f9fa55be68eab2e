-- Runs of maintenance begun in [:since, :until), newest first, at most :most.
-- Columns: started_at timestamp, seconds double, files_merged int, files_written int, rows_expired int,
--   commits_expired int, files_deleted int, bytes_deleted int, log_rows_deleted int.
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
