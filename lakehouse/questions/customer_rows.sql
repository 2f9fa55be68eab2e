-- Customers (no guests) with a click on one of :devices in [:since, :until) and the step they came to (as for customer_funnel), :most of
-- them after :skip, in the order :sorted (a column, then user_id): their clicks and orders (counts), what they ordered for
-- (the shop's currency), when they were first and last seen; `found` is how many there are in all. :distinct as for
-- orders_by_status, :page is lakehouse.kinds.CLICK_PAGE, :matches a condition on an event's row.
-- Columns: user_id string, step int, clicks int, orders int, amount decimal, first_at timestamp,
--   newest_at timestamp, newest timestamp, found int.
SELECT user_id, step, clicks, orders, amount, first_at, newest_at, newest, COUNT(*) OVER () AS found
FROM (
  SELECT
    user_id,
    SUM(clicks) AS clicks,
    COUNT(:distinct order_id) AS orders,
    SUM(amount) AS amount,
    MIN(moment) AS first_at,
    MAX(moment) AS newest_at,
    MAX(produced_at) AS newest,
    CASE
      WHEN SUM(homes) = 0 THEN 1
      WHEN SUM(products) = 0 THEN 2
      WHEN SUM(carts) = 0 THEN 3
      WHEN COUNT(order_id) = 0 THEN 4
      ELSE 5
    END AS step
  FROM (
    SELECT
      user_id,
      click_ts AS moment,
      produced_at,
      1 AS clicks,
      CASE WHEN :page = 'home' THEN 1 ELSE 0 END AS homes,
      CASE WHEN :page = 'product' THEN 1 ELSE 0 END AS products,
      CASE WHEN :page = 'cart' THEN 1 ELSE 0 END AS carts,
      CAST(NULL AS VARCHAR) AS order_id,
      CAST(0 AS DECIMAL(18, 2)) AS amount
    FROM {clicks_processed}
    WHERE click_ts >= :since AND click_ts < :until AND user_id <> ''
      AND device_type IN (:devices) AND :matches
    UNION ALL
    SELECT user_id, order_ts AS moment, produced_at, 0, 0, 0, 0, order_id, order_total AS amount
    FROM {orders_processed}
    WHERE order_ts >= :since AND order_ts < :until AND user_id <> '' AND :matches
  ) AS events
  GROUP BY user_id
) AS users
WHERE clicks > 0 AND step IN (:steps)
ORDER BY :sorted
LIMIT :most OFFSET :skip
