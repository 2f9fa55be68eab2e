-- Payments (count) of [:since, :until) by state, in steps of one :step; :state and :find are conditions on a row.
-- Columns: moment timestamp, state string, payments int.
SELECT DATE_TRUNC(:step, payment_time) AS moment, state, COUNT(*) AS payments
FROM {payments_processed}
WHERE payment_time >= :since AND payment_time < :until AND :state AND :find
GROUP BY DATE_TRUNC(:step, payment_time), state
