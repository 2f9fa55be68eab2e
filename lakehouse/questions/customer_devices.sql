-- Clicks (count) of [:since, :until) by device.
-- Columns: device_type string, n int.
SELECT device_type, SUM(clicks) AS n
FROM {clicks_per_minute}
WHERE window_start >= :since AND window_start < :until
GROUP BY device_type
