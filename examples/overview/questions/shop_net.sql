-- Revenue less what was paid back, in the shop's currency, by minute of [:since, :until).
-- Columns: moment timestamp, net decimal.
SELECT window_start AS moment, total_revenue AS net
FROM {orders_revenue_per_minute}
WHERE window_start >= :since AND window_start < :until
UNION ALL
SELECT window_start AS moment, -refunded_amount AS net
FROM {refunds_per_minute}
WHERE window_start >= :since AND window_start < :until
