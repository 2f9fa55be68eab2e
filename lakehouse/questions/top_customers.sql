-- The :most customers (no guests) with the highest net spend (the shop's currency) in [:since, :until): their orders
-- (count; an order is a row, or with :distinct its order_id), what these cost, what was paid back of them so far, and the
-- first less the second; :matches as for order_rows.
-- Columns: user_id string, n int, amount decimal, refunded decimal, net decimal.
SELECT
  user_id,
  COUNT(:distinct order_id) AS n,
  SUM(amount) AS amount,
  SUM(refunded) AS refunded,
  SUM(amount - refunded) AS net
FROM (
  SELECT user_id, order_id, order_total AS amount, CAST(0 AS DECIMAL(18, 2)) AS refunded
  FROM {orders_processed}
  WHERE order_ts >= :since AND order_ts < :until AND user_id <> ''
    AND status IN (:statuses)
    AND (:all_products = 1 OR product_id IN (:products))
    AND :matches
  UNION ALL
  SELECT
    bought.user_id,
    CAST(NULL AS VARCHAR) AS order_id,
    CAST(0 AS DECIMAL(18, 2)) AS amount,
    refunds.amount AS refunded
  FROM (
    SELECT DISTINCT user_id, order_id
    FROM {orders_processed}
    WHERE order_ts >= :since AND order_ts < :until AND user_id <> ''
      AND status IN (:statuses)
      AND (:all_products = 1 OR product_id IN (:products))
      AND :matches
  ) AS bought
  JOIN (
    SELECT order_id, amount
    FROM {refunds_processed}
    WHERE refund_ts >= :since
  ) AS refunds
    ON refunds.order_id = bought.order_id
) AS spent
GROUP BY user_id
ORDER BY net DESC NULLS LAST, user_id
LIMIT :most
