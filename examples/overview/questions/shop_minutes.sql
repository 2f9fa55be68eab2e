-- Orders (count) and revenue in the shop's currency, by minute of [:since, :until).
-- Columns: moment timestamp, orders int, revenue decimal.
SELECT window_start AS moment, orders_count AS orders, total_revenue AS revenue
FROM {orders_revenue_per_minute}
WHERE window_start >= :since AND window_start < :until
