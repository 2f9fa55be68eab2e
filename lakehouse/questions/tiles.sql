-- The figures of the KPI tiles over [:since, :as_of), and over [:before, :since) to compare with. One row.
-- Money in the shop's currency, all else counts; newest_ is the newest produced_at among the rows since :since.
-- Guests (user_id '') order and click, but are no users and no buyers. An order is a row, or with :distinct its order_id.
-- Each raw table is read once; orders and clicks by user first, to see who clicked, and who of them ordered.
-- Columns: orders int, orders_before int, revenue decimal, revenue_before decimal, users int, users_before int,
--   buyers int, buyers_before int, clicks int, clicks_before int, errors int, errors_before int, refunded decimal,
--   refunded_before decimal, newest_order timestamp, newest_click timestamp, newest_error timestamp,
--   newest_refund timestamp.
SELECT
  orders,
  orders_before,
  revenue,
  revenue_before,
  users,
  users_before,
  buyers,
  buyers_before,
  clicks,
  clicks_before,
  errors,
  errors_before,
  refunded,
  refunded_before,
  newest_order,
  newest_click,
  newest_error,
  newest_refund
FROM (
  SELECT
    SUM(orders) AS orders,
    SUM(orders_before) AS orders_before,
    SUM(revenue) AS revenue,
    SUM(revenue_before) AS revenue_before,
    COUNT(CASE WHEN clicks > 0 AND visitors.user_id <> '' THEN 1 END) AS users,
    COUNT(CASE WHEN clicks_before > 0 AND visitors.user_id <> '' THEN 1 END) AS users_before,
    COUNT(CASE WHEN clicks > 0 AND ordered > 0 AND visitors.user_id <> '' THEN 1 END) AS buyers,
    COUNT(CASE WHEN clicks_before > 0 AND ordered_before > 0 AND visitors.user_id <> '' THEN 1 END) AS buyers_before,
    SUM(clicks) AS clicks,
    SUM(clicks_before) AS clicks_before,
    MAX(newest_order) AS newest_order,
    MAX(newest_click) AS newest_click
  FROM (
    SELECT
      user_id,
      COUNT(:distinct CASE WHEN order_ts >= :since AND status IN (:counted_statuses) THEN order_id END) AS orders,
      COUNT(:distinct CASE WHEN order_ts < :since AND status IN (:counted_statuses) THEN order_id END) AS orders_before,
      SUM(CASE WHEN order_ts >= :since AND status IN (:counted_statuses) THEN order_total ELSE 0 END) AS revenue,
      SUM(CASE WHEN order_ts < :since AND status IN (:counted_statuses) THEN order_total ELSE 0 END) AS revenue_before,
      COUNT(CASE WHEN order_ts >= :since THEN 1 END) AS ordered,
      COUNT(CASE WHEN order_ts < :since THEN 1 END) AS ordered_before,
      MAX(CASE WHEN order_ts >= :since AND status IN (:counted_statuses) THEN produced_at END) AS newest_order
    FROM {orders_processed}
    WHERE order_ts >= :before AND order_ts < :as_of
    GROUP BY user_id
  ) AS customers
  FULL JOIN (
    SELECT
      user_id,
      COUNT(CASE WHEN click_ts >= :since THEN 1 END) AS clicks,
      COUNT(CASE WHEN click_ts < :since THEN 1 END) AS clicks_before,
      MAX(CASE WHEN click_ts >= :since THEN produced_at END) AS newest_click
    FROM {clicks_processed}
    WHERE click_ts >= :before AND click_ts < :as_of
    GROUP BY user_id
  ) AS visitors ON customers.user_id = visitors.user_id
) AS users
CROSS JOIN (
  SELECT
    COUNT(CASE WHEN error_ts >= :since THEN 1 END) AS errors,
    COUNT(CASE WHEN error_ts < :since THEN 1 END) AS errors_before,
    MAX(CASE WHEN error_ts >= :since THEN produced_at END) AS newest_error
  FROM {errors_processed}
  WHERE error_ts >= :before AND error_ts < :as_of AND severity IN ('ERROR', 'FATAL')
) AS errors
CROSS JOIN (
  SELECT
    SUM(CASE WHEN refund_ts >= :since THEN amount ELSE 0 END) AS refunded,
    SUM(CASE WHEN refund_ts < :since THEN amount ELSE 0 END) AS refunded_before,
    MAX(CASE WHEN refund_ts >= :since THEN produced_at END) AS newest_refund
  FROM {refunds_processed}
  WHERE refund_ts >= :before AND refund_ts < :as_of
) AS refunds
