-- Alerts of any kind, published since :since; :limit after :skip.
SELECT alert_id, incident_id, alert_type, rule, severity, status, service_name, description, summary, runbook_url,
       owner, metric_value, threshold, alert_timestamp, received_at, ingested_at, starts_at
FROM {alerts}
WHERE ingested_at >= :since
ORDER BY ingested_at, status, alert_timestamp, alert_id, received_at, incident_id, alert_type, rule, severity,
         service_name, description, summary, runbook_url, owner, metric_value, threshold, starts_at
LIMIT :limit OFFSET :skip
