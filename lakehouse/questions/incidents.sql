-- Incidents with an alert row in [:since, :until), the last touched first, at most :most: one row an incident.
-- firings is a count; resolved_at is null while nothing resolved it; words and severity are of its newest FIRING row.
-- Columns: incident_id string, rule string, service_name string, starts_at timestamp, firings int,
--   newest_at timestamp, newest_received_at timestamp, resolved_at timestamp, severity string, description string,
--   metric_value double, threshold double, runbook_url string, touched_at timestamp.
SELECT
  incident_id,
  MAX(rule) AS rule,
  MAX(service_name) AS service_name,
  MIN(starts_at) AS starts_at,
  SUM(CASE WHEN status = 'FIRING' THEN 1 ELSE 0 END) AS firings,
  MAX(CASE WHEN status = 'FIRING' THEN alert_timestamp END) AS newest_at,
  MAX(CASE WHEN status = 'FIRING' THEN received_at END) AS newest_received_at,
  MAX(CASE WHEN status = 'RESOLVED' THEN alert_timestamp END) AS resolved_at,
  MAX(CASE WHEN nth = 1 THEN severity END) AS severity,
  MAX(CASE WHEN nth = 1 THEN description END) AS description,
  MAX(CASE WHEN nth = 1 THEN metric_value END) AS metric_value,
  MAX(CASE WHEN nth = 1 THEN threshold END) AS threshold,
  MAX(CASE WHEN nth = 1 THEN runbook_url END) AS runbook_url,
  MAX(received_at) AS touched_at
FROM (
  SELECT
    incident_id, rule, service_name, starts_at, status, alert_timestamp, received_at, severity, description,
    metric_value, threshold, runbook_url,
    CASE
      WHEN status = 'FIRING'
      THEN ROW_NUMBER() OVER (PARTITION BY incident_id, status ORDER BY alert_timestamp DESC, alert_id)
      ELSE 0
    END AS nth
  FROM {alerts}
  WHERE alert_timestamp >= :since AND alert_timestamp < :until
) AS facts
GROUP BY incident_id
ORDER BY touched_at DESC NULLS LAST, incident_id
LIMIT :most
