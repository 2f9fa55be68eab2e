-- The figures of the KPI tiles over [:since, :as_of), and over [:before, :since) to compare with. One row.
-- Money in the shop's currency, all else counts; newest_ is the newest produced_at among the rows since :since.
-- Guests (user_id '') order and click, but are no users and no buyers. An order is a row, or with :distinct its order_id.
-- Each raw table is read once; grouped by user first, to see who clicked, and who of them ordered.
-- Columns: orders int, orders_before int, revenue decimal, revenue_before decimal, users int, users_before int,
--   buyers int, buyers_before int, clicks int, clicks_before int, errors int, errors_before int, refunded decimal,
--   refunded_before decimal, newest_order timestamp, newest_click timestamp, newest_error timestamp,
--   newest_refund timestamp.
SELECT
  SUM(orders) AS orders,
  SUM(orders_before) AS orders_before,
  SUM(revenue) AS revenue,
  SUM(revenue_before) AS revenue_before,
  SUM(CASE WHEN clicks > 0 AND user_id <> '' THEN 1 ELSE 0 END) AS users,
  SUM(CASE WHEN clicks_before > 0 AND user_id <> '' THEN 1 ELSE 0 END) AS users_before,
  SUM(CASE WHEN clicks > 0 AND ordered > 0 AND user_id <> '' THEN 1 ELSE 0 END) AS buyers,
  SUM(CASE WHEN clicks_before > 0 AND ordered_before > 0 AND user_id <> '' THEN 1 ELSE 0 END) AS buyers_before,
  SUM(clicks) AS clicks,
  SUM(clicks_before) AS clicks_before,
  SUM(errors) AS errors,
  SUM(errors_before) AS errors_before,
  SUM(refunded) AS refunded,
  SUM(refunded_before) AS refunded_before,
  MAX(newest_order) AS newest_order,
  MAX(newest_click) AS newest_click,
  MAX(newest_error) AS newest_error,
  MAX(newest_refund) AS newest_refund
FROM (
  SELECT
    user_id,
    COUNT(:distinct CASE WHEN order_ts >= :since AND counted = 1 THEN order_id END) AS orders,
    COUNT(:distinct CASE WHEN order_ts < :since AND counted = 1 THEN order_id END) AS orders_before,
    SUM(CASE WHEN order_ts >= :since AND counted = 1 THEN order_total ELSE 0 END) AS revenue,
    SUM(CASE WHEN order_ts < :since AND counted = 1 THEN order_total ELSE 0 END) AS revenue_before,
    SUM(CASE WHEN order_ts >= :since THEN 1 ELSE 0 END) AS ordered,
    SUM(CASE WHEN order_ts < :since THEN 1 ELSE 0 END) AS ordered_before,
    SUM(CASE WHEN click_ts >= :since THEN 1 ELSE 0 END) AS clicks,
    SUM(CASE WHEN click_ts < :since THEN 1 ELSE 0 END) AS clicks_before,
    SUM(CASE WHEN error_ts >= :since THEN 1 ELSE 0 END) AS errors,
    SUM(CASE WHEN error_ts < :since THEN 1 ELSE 0 END) AS errors_before,
    SUM(CASE WHEN refund_ts >= :since THEN amount ELSE 0 END) AS refunded,
    SUM(CASE WHEN refund_ts < :since THEN amount ELSE 0 END) AS refunded_before,
    MAX(CASE WHEN order_ts >= :since AND counted = 1 THEN produced_at END) AS newest_order,
    MAX(CASE WHEN click_ts >= :since THEN produced_at END) AS newest_click,
    MAX(CASE WHEN error_ts >= :since THEN produced_at END) AS newest_error,
    MAX(CASE WHEN refund_ts >= :since THEN produced_at END) AS newest_refund
  FROM (
    SELECT
      user_id,
      order_id,
      order_ts,
      CAST(NULL AS TIMESTAMP) AS click_ts,
      CAST(NULL AS TIMESTAMP) AS error_ts,
      CAST(NULL AS TIMESTAMP) AS refund_ts,
      CAST(0 AS DECIMAL(18, 2)) AS amount,
      CASE WHEN status IN (:counted_statuses) THEN 1 ELSE 0 END AS counted,
      order_total,
      produced_at
    FROM {orders_processed}
    WHERE order_ts >= :before AND order_ts < :as_of
    UNION ALL
    SELECT
      user_id,
      CAST(NULL AS VARCHAR) AS order_id,
      CAST(NULL AS TIMESTAMP) AS order_ts,
      click_ts,
      CAST(NULL AS TIMESTAMP) AS error_ts,
      CAST(NULL AS TIMESTAMP) AS refund_ts,
      CAST(0 AS DECIMAL(18, 2)) AS amount,
      0 AS counted,
      CAST(0 AS DECIMAL(18, 2)) AS order_total,
      produced_at
    FROM {clicks_processed}
    WHERE click_ts >= :before AND click_ts < :as_of
    UNION ALL
    SELECT
      CAST(NULL AS VARCHAR) AS user_id,
      CAST(NULL AS VARCHAR) AS order_id,
      CAST(NULL AS TIMESTAMP) AS order_ts,
      CAST(NULL AS TIMESTAMP) AS click_ts,
      error_ts,
      CAST(NULL AS TIMESTAMP) AS refund_ts,
      CAST(0 AS DECIMAL(18, 2)) AS amount,
      0 AS counted,
      CAST(0 AS DECIMAL(18, 2)) AS order_total,
      produced_at
    FROM {errors_processed}
    WHERE error_ts >= :before AND error_ts < :as_of AND severity IN ('ERROR', 'FATAL')
    UNION ALL
    SELECT
      CAST(NULL AS VARCHAR) AS user_id,
      CAST(NULL AS VARCHAR) AS order_id,
      CAST(NULL AS TIMESTAMP) AS order_ts,
      CAST(NULL AS TIMESTAMP) AS click_ts,
      CAST(NULL AS TIMESTAMP) AS error_ts,
      refund_ts,
      amount,
      0 AS counted,
      CAST(0 AS DECIMAL(18, 2)) AS order_total,
      produced_at
    FROM {refunds_processed}
    WHERE refund_ts >= :before AND refund_ts < :as_of
  ) AS events
  GROUP BY user_id
) AS users
