-- The same of alerts without an ingested_at, which no time finds; :limit after :skip.
SELECT alert_id, incident_id, alert_type, rule, severity, status, service_name, description, summary, runbook_url,
       owner, metric_value, threshold, alert_timestamp, received_at, ingested_at, starts_at
FROM {alerts}
WHERE ingested_at IS NULL
ORDER BY received_at, status, alert_timestamp, alert_id, incident_id, alert_type, rule, severity,
         service_name, description, summary, runbook_url, owner, metric_value, threshold, starts_at
LIMIT :limit OFFSET :skip
