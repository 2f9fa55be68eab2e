-- Orders and their rows (counts) and revenue (the shop's currency) of [:since, :until) by status, with the newest
-- produced_at; an order is a row, or with :distinct its order_id; :matches as for order_rows.
-- Columns: status string, n int, lines int, amount decimal, newest timestamp.
SELECT status, COUNT(:distinct order_id) AS n, COUNT(*) AS lines, SUM(order_total) AS amount, MAX(produced_at) AS newest
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until
  AND (:all_products = 1 OR product_id IN (:products))
  AND :matches
GROUP BY status
