-- The newest errors of [:since, :as_of) among :severities, newest first, at most :most.
-- Columns: event_key string, error_id string, service_name string, severity string, error_message string,
--   error_ts timestamp, produced_at timestamp.
SELECT event_key, error_id, service_name, severity, error_message, error_ts, produced_at
FROM {errors_processed}
WHERE error_ts >= :since AND error_ts < :as_of
  AND severity IN (:severities)
ORDER BY error_ts DESC, event_key
LIMIT :most
