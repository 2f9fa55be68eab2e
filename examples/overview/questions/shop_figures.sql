-- What the shop did in [:since, :until): counts, revenue, what is left of it after refunds and its average in the shop's
-- currency, users of clicks, parts in percent. One row; null where there was nothing to divide by.
-- Columns: orders int, revenue decimal, net decimal, average double, users int, conversion double, error_rate double.
SELECT
  SUM(orders) AS orders,
  SUM(revenue) AS revenue,
  SUM(revenue) - SUM(refunded) AS net,
  CAST(SUM(revenue) AS DOUBLE) / NULLIF(SUM(orders), 0) AS average,
  SUM(CASE WHEN clicks > 0 THEN 1 ELSE 0 END) AS users,
  100.0E0 * SUM(CASE WHEN clicks > 0 AND orders > 0 THEN 1 ELSE 0 END)
    / NULLIF(SUM(CASE WHEN clicks > 0 THEN 1 ELSE 0 END), 0) AS conversion,
  100.0E0 * SUM(errors) / NULLIF(SUM(clicks), 0) AS error_rate
FROM (
  SELECT
    user_id,
    SUM(orders) AS orders,
    SUM(revenue) AS revenue,
    SUM(refunded) AS refunded,
    SUM(clicks) AS clicks,
    SUM(errors) AS errors
  FROM (
    SELECT user_id, 1 AS orders, order_total AS revenue, CAST(0 AS DECIMAL(18, 2)) AS refunded, 0 AS clicks, 0 AS errors
    FROM {orders_processed}
    WHERE order_ts >= :since AND order_ts < :until
    UNION ALL
    SELECT user_id, 0 AS orders, CAST(0 AS DECIMAL(18, 2)) AS revenue, CAST(0 AS DECIMAL(18, 2)) AS refunded, 1 AS clicks,
      0 AS errors
    FROM {clicks_processed}
    WHERE click_ts >= :since AND click_ts < :until
    UNION ALL
    SELECT CAST(NULL AS VARCHAR) AS user_id, 0 AS orders, CAST(0 AS DECIMAL(18, 2)) AS revenue, amount AS refunded,
      0 AS clicks, 0 AS errors
    FROM {refunds_processed}
    WHERE refund_ts >= :since AND refund_ts < :until
    UNION ALL
    SELECT CAST(NULL AS VARCHAR) AS user_id, 0 AS orders, CAST(0 AS DECIMAL(18, 2)) AS revenue,
      CAST(0 AS DECIMAL(18, 2)) AS refunded, 0 AS clicks, 1 AS errors
    FROM {errors_processed}
    WHERE error_ts >= :since AND error_ts < :until AND severity IN ('ERROR', 'FATAL')
  ) AS events
  GROUP BY user_id
) AS users
