-- What the shop did in [:since, :until): counted orders, their revenue, what is left of it after refunds and its average in
-- the shop's currency, users of clicks, parts in percent. One row; null where there was nothing to divide by.
-- :counted_statuses are those of orders.counted_statuses; an order is a row, or with :distinct its order_id. Guests (user_id
-- '') order and click, but are no users.
-- Columns: orders int, revenue decimal, net decimal, average double, users int, conversion double, error_rate double.
SELECT
  SUM(orders) AS orders,
  SUM(revenue) AS revenue,
  SUM(revenue) - SUM(refunded) AS net,
  CAST(SUM(revenue) AS DOUBLE) / NULLIF(SUM(orders), 0) AS average,
  SUM(CASE WHEN clicks > 0 AND user_id <> '' THEN 1 ELSE 0 END) AS users,
  100.0E0 * SUM(CASE WHEN clicks > 0 AND ordered > 0 AND user_id <> '' THEN 1 ELSE 0 END)
    / NULLIF(SUM(CASE WHEN clicks > 0 AND user_id <> '' THEN 1 ELSE 0 END), 0) AS conversion,
  100.0E0 * SUM(errors) / NULLIF(SUM(clicks), 0) AS error_rate
FROM (
  SELECT
    user_id,
    COUNT(:distinct CASE WHEN status IN (:counted_statuses) THEN order_id END) AS orders,
    SUM(CASE WHEN status IN (:counted_statuses) THEN order_total ELSE 0 END) AS revenue,
    COUNT(order_id) AS ordered,
    SUM(refunded) AS refunded,
    SUM(clicks) AS clicks,
    SUM(errors) AS errors
  FROM (
    SELECT user_id, order_id, status, order_total, CAST(0 AS DECIMAL(18, 2)) AS refunded, 0 AS clicks, 0 AS errors
    FROM {orders_processed}
    WHERE order_ts >= :since AND order_ts < :until
    UNION ALL
    SELECT user_id, CAST(NULL AS VARCHAR) AS order_id, CAST(NULL AS VARCHAR) AS status, CAST(0 AS DECIMAL(18, 2)) AS order_total,
      CAST(0 AS DECIMAL(18, 2)) AS refunded, 1 AS clicks, 0 AS errors
    FROM {clicks_processed}
    WHERE click_ts >= :since AND click_ts < :until
    UNION ALL
    SELECT CAST(NULL AS VARCHAR) AS user_id, CAST(NULL AS VARCHAR) AS order_id, CAST(NULL AS VARCHAR) AS status,
      CAST(0 AS DECIMAL(18, 2)) AS order_total, amount AS refunded, 0 AS clicks, 0 AS errors
    FROM {refunds_processed}
    WHERE refund_ts >= :since AND refund_ts < :until
    UNION ALL
    SELECT CAST(NULL AS VARCHAR) AS user_id, CAST(NULL AS VARCHAR) AS order_id, CAST(NULL AS VARCHAR) AS status,
      CAST(0 AS DECIMAL(18, 2)) AS order_total, CAST(0 AS DECIMAL(18, 2)) AS refunded, 0 AS clicks, 1 AS errors
    FROM {errors_processed}
    WHERE error_ts >= :since AND error_ts < :until AND severity IN ('ERROR', 'FATAL')
  ) AS events
  GROUP BY user_id
) AS users
