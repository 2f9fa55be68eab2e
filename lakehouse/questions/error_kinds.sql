-- Messages of [:since, :until) that are alike, by :kind (lakehouse.kinds.ERROR_KIND) and severity, most first, at most
-- :most: how many (count), of how many services and the first of them by name, an example, the first and the newest.
-- Columns: kind string, severity string, n int, services int, service_name string, example string,
--   first_at timestamp, newest_at timestamp, newest timestamp.
SELECT
  kind,
  severity,
  COUNT(*) AS n,
  COUNT(DISTINCT service_name) AS services,
  MIN(service_name) AS service_name,
  MIN(error_message) AS example,
  MIN(error_ts) AS first_at,
  MAX(error_ts) AS newest_at,
  MAX(produced_at) AS newest
FROM (
  SELECT :kind AS kind, severity, service_name, error_message, error_ts, produced_at
  FROM {errors_processed}
  WHERE error_ts >= :since AND error_ts < :until
    AND severity IN (:severities)
    AND (:all_services = 1 OR service_name IN (:services))
    AND :matches
) AS folded
GROUP BY kind, severity
ORDER BY n DESC, kind, severity
LIMIT :most
