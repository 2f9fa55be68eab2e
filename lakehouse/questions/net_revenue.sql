-- Revenue of counted orders, what was paid back, and the first less the second, of [:since, :until) in steps of one :step,
-- by the times of the orders and of the refunds (the shop's currency); a step without either has no row.
-- Columns: moment timestamp, revenue decimal, refunded decimal, net_revenue decimal.
SELECT
  DATE_TRUNC(:step, minute_at) AS moment,
  SUM(revenue) AS revenue,
  SUM(refunded) AS refunded,
  SUM(revenue - refunded) AS net_revenue
FROM (
  SELECT window_start AS minute_at, total_revenue AS revenue, CAST(0 AS DECIMAL(38, 2)) AS refunded
  FROM {orders_revenue_per_minute}
  WHERE window_start >= :since AND window_start < :until
  UNION ALL
  SELECT window_start AS minute_at, CAST(0 AS DECIMAL(38, 2)) AS revenue, refunded_amount AS refunded
  FROM {refunds_per_minute}
  WHERE window_start >= :since AND window_start < :until
) AS minutes
GROUP BY DATE_TRUNC(:step, minute_at)
