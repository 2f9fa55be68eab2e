/*
order: 3
topic: errors_topic
doc: Errors by service and severity.
grain: one row a minute, service and severity with an error
keep_first: {severity: [FATAL, ERROR]}
columns:
  service_name:
  severity:
  error_count: {type: long, unit: messages, doc: errors}
*/
-- Errors of each minute by service and severity.
SELECT
  DATE_TRUNC('minute', error_ts) AS window_start,
  DATE_TRUNC('minute', error_ts) + INTERVAL '1' MINUTE AS window_end,
  service_name,
  severity,
  COUNT(*) AS error_count
FROM errors_processed
GROUP BY DATE_TRUNC('minute', error_ts), service_name, severity
