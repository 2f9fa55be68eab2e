-- Orders and revenue of each minute that holds an order; revenue in the shop's currency.
SELECT
  DATE_TRUNC('minute', order_ts) AS window_start,
  DATE_TRUNC('minute', order_ts) + INTERVAL '1' MINUTE AS window_end,
  SUM(CASE WHEN status IN (:counted_statuses) THEN 1 ELSE 0 END) AS orders_count,
  SUM(CASE WHEN status IN (:counted_statuses) THEN order_total ELSE 0 END) AS total_revenue,
  SUM(CASE WHEN status = 'CANCELLED' THEN 1 ELSE 0 END) AS cancelled_count,
  SUM(CASE WHEN status = 'CANCELLED' THEN order_total ELSE 0 END) AS cancelled_revenue,
  COUNT(DISTINCT CASE WHEN status IN (:counted_statuses) THEN user_id END) AS buyers
FROM orders_processed
GROUP BY DATE_TRUNC('minute', order_ts)
