-- All that is known of :orders since :since, in the order of time, at most :most: a row of the order each time it came
-- (what: its pieces and product; detail: its status), and what was paid back of it (what: the refund's id). Amounts are
-- in the shop's currency.
-- Columns: event_key string, moment timestamp, order_id string, user_id string, done string, what string, detail string,
--   amount decimal, produced_at timestamp.
SELECT event_key, moment, order_id, user_id, done, what, detail, amount, produced_at
FROM (
  SELECT
    event_key,
    order_ts AS moment,
    order_id,
    user_id,
    'order' AS done,
    CONCAT(CAST(quantity AS VARCHAR), ' of ', product_id) AS what,
    status AS detail,
    order_total AS amount,
    produced_at
  FROM {orders_processed}
  WHERE order_ts >= :since AND order_id IN (:orders)
  UNION ALL
  SELECT
    event_key,
    refund_ts AS moment,
    order_id,
    CAST(NULL AS VARCHAR) AS user_id,
    'refund' AS done,
    CONCAT('refund ', refund_id) AS what,
    CAST(NULL AS VARCHAR) AS detail,
    amount,
    produced_at
  FROM {refunds_processed}
  WHERE refund_ts >= :since AND order_id IN (:orders)
) AS events
ORDER BY moment, event_key
LIMIT :most
