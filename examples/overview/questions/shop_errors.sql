-- ERROR and FATAL (count) by minute of [:since, :until).
-- Columns: moment timestamp, severity string, errors int.
SELECT window_start AS moment, severity, SUM(error_count) AS errors
FROM {errors_per_minute}
WHERE window_start >= :since AND window_start < :until AND severity IN ('ERROR', 'FATAL')
GROUP BY window_start, severity
