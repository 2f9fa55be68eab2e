/*
order: 5
topic: refunds_topic
doc: Refunds and what was paid back.
grain: one row a minute with a refund
columns:
  refunds_count: {type: long, unit: refunds, doc: refunds}
  refunded_amount: {type: "decimal(38,2)", unit: currency of the shop, doc: sum of amount}
*/
-- Refunds of each minute, by the time they were paid back; amounts in the shop's currency.
SELECT
  DATE_TRUNC('minute', refund_ts) AS window_start,
  DATE_TRUNC('minute', refund_ts) + INTERVAL '1' MINUTE AS window_end,
  COUNT(*) AS refunds_count,
  SUM(amount) AS refunded_amount
FROM refunds_processed
GROUP BY DATE_TRUNC('minute', refund_ts)
