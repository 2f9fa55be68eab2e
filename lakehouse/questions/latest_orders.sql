-- The newest orders of [:since, :as_of), newest first, at most :most; order_total in the shop's currency.
-- Columns: event_key string, order_id string, user_id string, product_id string, quantity int, order_total decimal,
--   status string, order_ts timestamp, produced_at timestamp.
SELECT event_key, order_id, user_id, product_id, quantity, order_total, status, order_ts, produced_at
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :as_of
ORDER BY order_ts DESC, event_key
LIMIT :most
