-- Clicks (count) of [:since, :until) by page in steps of one :step, on these :devices. Whole minutes, [:first, :last), are
-- counted already; what lies before and behind them is read click by click. :page is lakehouse.kinds.CLICK_PAGE.
-- Columns: moment timestamp, page string, n int.
SELECT DATE_TRUNC(:step, minute_at) AS moment, page, SUM(n) AS n
FROM (
  SELECT window_start AS minute_at, page, clicks AS n
  FROM {clicks_per_minute}
  WHERE window_start >= :first AND window_start < :last AND device_type IN (:devices)
  UNION ALL
  SELECT click_ts AS minute_at, :page AS page, 1 AS n
  FROM {clicks_processed}
  WHERE click_ts >= :since AND click_ts < :first AND device_type IN (:devices)
  UNION ALL
  SELECT click_ts AS minute_at, :page AS page, 1 AS n
  FROM {clicks_processed}
  WHERE click_ts >= :last AND click_ts < :until AND device_type IN (:devices)
) AS clicks
GROUP BY DATE_TRUNC(:step, minute_at), page
