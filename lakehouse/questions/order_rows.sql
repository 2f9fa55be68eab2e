-- Orders of [:since, :until), :most of them after :skip, in the order :sorted (a column, then event_key); price and
-- order_total in the shop's currency; :matches is a condition on a row.
-- Columns: event_key string, order_ts timestamp, order_id string, user_id string, product_id string, quantity int,
--   price decimal, order_total decimal, status string, produced_at timestamp.
SELECT event_key, order_ts, order_id, user_id, product_id, quantity, price, order_total, status, produced_at
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until
  AND status IN (:statuses)
  AND (:all_products = 1 OR product_id IN (:products))
  AND :matches
ORDER BY :sorted
LIMIT :most OFFSET :skip
