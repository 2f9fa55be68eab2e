-- FATAL alerts, and every RESOLVED row, published at or after :since. One row an alert; times UTC, ms.
SELECT alert_id, incident_id, alert_type, rule, severity, status, service_name, description, summary, runbook_url,
       metric_value, threshold, alert_timestamp, received_at, ingested_at, starts_at
FROM {alerts}
WHERE ingested_at >= :since AND (severity = 'FATAL' OR status = 'RESOLVED')
ORDER BY ingested_at
