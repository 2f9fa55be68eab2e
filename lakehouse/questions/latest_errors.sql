-- The newest errors of [:since, :as_of) among :severities, newest first, at most :most.
SELECT event_key, error_id, service_name, severity, error_message, error_ts, produced_at
FROM {errors_processed}
WHERE error_ts >= :since AND error_ts < :as_of
  AND severity IN (:severities)
ORDER BY error_ts DESC, event_key
LIMIT :most
