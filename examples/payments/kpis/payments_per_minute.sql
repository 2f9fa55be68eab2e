/*
topic: payments_topic
grain: one row a minute and state with a payment
units: {payments: payments, amount: currency of the shop}
*/
-- Payments and their amount, of each minute by state.
SELECT
  DATE_TRUNC('minute', payment_time) AS window_start,
  DATE_TRUNC('minute', payment_time) + INTERVAL '1' MINUTE AS window_end,
  state,
  COUNT(*) AS payments,
  SUM(amount) AS amount
FROM payments_processed
GROUP BY DATE_TRUNC('minute', payment_time), state
