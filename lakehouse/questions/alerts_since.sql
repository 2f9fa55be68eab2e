-- Alerts of any kind, published since :since; :limit after :skip.
-- Columns: alert_id string, incident_id string, alert_type string, rule string, severity string, status string,
--   service_name string, description string, summary string, runbook_url string, owner string, metric_value double,
--   threshold double, alert_timestamp timestamp, received_at timestamp, ingested_at timestamp, starts_at timestamp.
SELECT alert_id, incident_id, alert_type, rule, severity, status, service_name, description, summary, runbook_url,
       owner, metric_value, threshold, alert_timestamp, received_at, ingested_at, starts_at
FROM {alerts}
WHERE ingested_at >= :since
ORDER BY ingested_at, status, alert_timestamp, alert_id, received_at, incident_id, alert_type, rule, severity,
         service_name, description, summary, runbook_url, owner, metric_value, threshold, starts_at
LIMIT :limit OFFSET :skip
