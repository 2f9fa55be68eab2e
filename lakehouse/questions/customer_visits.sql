-- Clicks (count) of [:since, :until) by page in steps of one :step, on these :devices.
-- Columns: moment timestamp, page string, n int.
SELECT DATE_TRUNC(:step, window_start) AS moment, page, SUM(clicks) AS n
FROM {clicks_per_minute}
WHERE window_start >= :since AND window_start < :until AND device_type IN (:devices)
GROUP BY DATE_TRUNC(:step, window_start), page
