-- Amounts of [:since, :until) in the shop's currency, by state; :find is a condition on a row.
-- Columns: state string, amount decimal.
SELECT state, SUM(amount) AS amount
FROM {payments_processed}
WHERE payment_time >= :since AND payment_time < :until AND :find
GROUP BY state
