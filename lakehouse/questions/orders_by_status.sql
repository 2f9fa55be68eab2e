-- Orders (count) and revenue (the shop's currency) of [:since, :until) by status, with the newest produced_at;
-- :matches as for order_rows.
-- Columns: status string, n int, amount decimal, newest timestamp.
SELECT status, COUNT(*) AS n, SUM(order_total) AS amount, MAX(produced_at) AS newest
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until
  AND (:all_products = 1 OR product_id IN (:products))
  AND :matches
GROUP BY status
