-- The :most products with the highest revenue (the shop's currency) in [:since, :until), with their rows (count);
-- :matches as for order_rows.
-- Columns: product_id string, n int, amount decimal.
SELECT product_id, COUNT(*) AS n, SUM(order_total) AS amount
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until AND status IN (:statuses)
  AND :matches
GROUP BY product_id
ORDER BY amount DESC NULLS LAST, product_id
LIMIT :most
