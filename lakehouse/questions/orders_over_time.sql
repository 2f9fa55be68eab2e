-- Orders (count) and revenue (the shop's currency) of [:since, :until) by status in steps of one :step;
-- :distinct and :matches as for orders_by_status.
-- Columns: moment timestamp, status string, n int, amount decimal.
SELECT DATE_TRUNC(:step, order_ts) AS moment, status, COUNT(:distinct order_id) AS n, SUM(order_total) AS amount
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until
  AND status IN (:statuses)
  AND (:all_products = 1 OR product_id IN (:products))
  AND :matches
GROUP BY DATE_TRUNC(:step, order_ts), status
