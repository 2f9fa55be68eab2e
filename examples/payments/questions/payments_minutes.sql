-- Payments (count) and their amount in the shop's currency, by minute and state of [:since, :until).
-- Columns: moment timestamp, state string, payments int, amount decimal.
SELECT window_start AS moment, state, payments, amount
FROM {payments_per_minute}
WHERE window_start >= :since AND window_start < :until
