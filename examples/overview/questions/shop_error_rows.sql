-- ERROR and FATAL of [:since, :until), the newest first, :most of them.
-- Columns: event_key string, error_ts timestamp, severity string, service_name string, error_message string.
SELECT event_key, error_ts, severity, service_name, error_message
FROM {errors_processed}
WHERE error_ts >= :since AND error_ts < :until AND severity IN ('ERROR', 'FATAL')
ORDER BY error_ts DESC, event_key
LIMIT :most
