-- Orders of [:since, :until), the newest first, :most of them; order_total in the shop's currency.
-- Columns: event_key string, order_ts timestamp, order_id string, product_id string, order_total decimal, status string.
SELECT event_key, order_ts, order_id, product_id, order_total, status
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until
ORDER BY order_ts DESC, event_key
LIMIT :most
