-- The alert rows of one incident, newest first, at most :most.
SELECT alert_id, alert_type, status, severity, service_name, description, alert_timestamp, metric_value, threshold,
  received_at
FROM {alerts}
WHERE incident_id = :incident_id AND alert_timestamp >= :since AND alert_timestamp < :until
ORDER BY alert_timestamp DESC, alert_id
LIMIT :most
