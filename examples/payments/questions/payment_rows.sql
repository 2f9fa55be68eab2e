-- Payments of [:since, :until), :most of them after :skip, in the order :sorted; :state and :find are conditions on a row.
-- Columns: event_key string, payment_time timestamp, payment_id string, order_id string, amount decimal, state string.
SELECT event_key, payment_time, payment_id, order_id, amount, state
FROM {payments_processed}
WHERE payment_time >= :since AND payment_time < :until AND :state AND :find
ORDER BY :sorted
LIMIT :most OFFSET :skip
