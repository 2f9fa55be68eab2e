-- Clicks (count) of [:since, :until) by device; :first and :last as for customer_visits.
-- Columns: device_type string, n int.
SELECT device_type, SUM(n) AS n
FROM (
  SELECT device_type, clicks AS n
  FROM {clicks_per_minute}
  WHERE window_start >= :first AND window_start < :last
  UNION ALL
  SELECT device_type, 1 AS n
  FROM {clicks_processed}
  WHERE click_ts >= :since AND click_ts < :first
  UNION ALL
  SELECT device_type, 1 AS n
  FROM {clicks_processed}
  WHERE click_ts >= :last AND click_ts < :until
) AS clicks
GROUP BY device_type
