-- The last minutes of every KPI: one row a series, part and minute that has any, from :since up to :as_of.
-- series orders (amount: revenue in the shop's currency), refunds (amount: what was paid back), errors (part: severity),
-- clicks (all pages and devices), users (moment is the end of the five minutes they were counted over).
-- Columns: series string, part string, moment timestamp, n int, amount decimal.
SELECT 'orders' AS series, '' AS part, window_start AS moment, orders_count AS n, total_revenue AS amount
FROM {orders_revenue_per_minute}
WHERE window_start >= :since AND window_start < :as_of
UNION ALL
SELECT 'refunds' AS series, '' AS part, window_start AS moment, refunds_count AS n, refunded_amount AS amount
FROM {refunds_per_minute}
WHERE window_start >= :since AND window_start < :as_of
UNION ALL
SELECT
  'errors' AS series, severity AS part, window_start AS moment, SUM(error_count) AS n,
  CAST(0 AS DECIMAL(38, 2)) AS amount
FROM {errors_per_minute}
WHERE window_start >= :since AND window_start < :as_of
GROUP BY severity, window_start
UNION ALL
SELECT
  'clicks' AS series, '' AS part, window_start AS moment, SUM(clicks) AS n, CAST(0 AS DECIMAL(38, 2)) AS amount
FROM {clicks_per_minute}
WHERE window_start >= :since AND window_start < :as_of
GROUP BY window_start
UNION ALL
SELECT
  'users' AS series, '' AS part, window_end AS moment, active_users_approx AS n, CAST(0 AS DECIMAL(38, 2)) AS amount
FROM {active_users_per_window}
WHERE window_end > :since AND window_end <= :as_of
