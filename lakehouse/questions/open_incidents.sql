-- Incidents that are open by where the rules stand, however old they are and however many: :worst above, then the newest,
-- at most :most. One row an incident; severity and service are of its first alert. open_count and worst_count are of all
-- of them (counts).
-- Columns: incident_id string, rule string, service_name string, severity string, starts_at timestamp,
--   newest_received_at timestamp, open_count int, worst_count int.
SELECT
  incident_id,
  rule,
  service_name,
  severity,
  starts_at,
  newest_received_at,
  COUNT(*) OVER (PARTITION BY together) AS open_count,
  SUM(is_worst) OVER (PARTITION BY together) AS worst_count
FROM (
  SELECT
    incident_id, rule, service_name, severity, starts_at, newest_received_at,
    1 AS together,
    CASE WHEN UPPER(severity) = :worst THEN 1 ELSE 0 END AS is_worst
  FROM {rule_state}
  WHERE incident_id IS NOT NULL
) AS standing
ORDER BY is_worst DESC NULLS LAST, newest_received_at DESC NULLS LAST, incident_id
LIMIT :most
