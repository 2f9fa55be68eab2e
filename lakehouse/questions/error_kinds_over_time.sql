-- Messages (count) of [:since, :until) of these :kinds, by :kind (lakehouse.kinds.ERROR_KIND) and severity, in steps of
-- one :step.
-- Columns: kind string, severity string, moment timestamp, n int.
SELECT kind, severity, DATE_TRUNC(:step, error_ts) AS moment, COUNT(*) AS n
FROM (
  SELECT :kind AS kind, severity, error_ts
  FROM {errors_processed}
  WHERE error_ts >= :since AND error_ts < :until
    AND severity IN (:severities)
    AND (:all_services = 1 OR service_name IN (:services))
) AS folded
WHERE kind IN (:kinds)
GROUP BY kind, severity, DATE_TRUNC(:step, error_ts)
