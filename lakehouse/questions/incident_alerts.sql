-- The alert rows of one incident, newest first, at most :most.
-- Columns: alert_id string, alert_type string, status string, severity string, service_name string,
--   description string, alert_timestamp timestamp, metric_value double, threshold double, received_at timestamp,
--   runbook_url string.
SELECT alert_id, alert_type, status, severity, service_name, description, alert_timestamp, metric_value, threshold,
  received_at, runbook_url
FROM {alerts}
WHERE incident_id = :incident_id AND alert_timestamp >= :since AND alert_timestamp < :until
ORDER BY alert_timestamp DESC, alert_id
LIMIT :most
