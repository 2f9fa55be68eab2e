-- How far customers (no guests) came in [:since, :until), of those with a click on one of :devices: one row a step reached (step 1:
-- any page, 2: the home page too, 3: a product's page too, 4: the cart too, 5: and an order), with how many of them came
-- no further (count), and how many of those had no click in [:before, :since). :page is lakehouse.kinds.CLICK_PAGE.
-- Columns: step int, users int, new_users int.
SELECT step, COUNT(*) AS users, SUM(CASE WHEN clicks_before = 0 THEN 1 ELSE 0 END) AS new_users
FROM (
  SELECT
    user_id,
    SUM(before_) AS clicks_before,
    CASE
      WHEN SUM(homes) = 0 THEN 1
      WHEN SUM(products) = 0 THEN 2
      WHEN SUM(carts) = 0 THEN 3
      WHEN SUM(orders) = 0 THEN 4
      ELSE 5
    END AS step
  FROM (
    SELECT
      user_id,
      CASE WHEN click_ts >= :since THEN 1 ELSE 0 END AS clicks,
      CASE WHEN click_ts < :since THEN 1 ELSE 0 END AS before_,
      CASE WHEN click_ts >= :since AND :page = 'home' THEN 1 ELSE 0 END AS homes,
      CASE WHEN click_ts >= :since AND :page = 'product' THEN 1 ELSE 0 END AS products,
      CASE WHEN click_ts >= :since AND :page = 'cart' THEN 1 ELSE 0 END AS carts,
      0 AS orders
    FROM {clicks_processed}
    WHERE click_ts >= :before AND click_ts < :until AND device_type IN (:devices) AND user_id <> ''
    UNION ALL
    SELECT user_id, 0 AS clicks, 0 AS before_, 0 AS homes, 0 AS products, 0 AS carts, 1 AS orders
    FROM {orders_processed}
    WHERE order_ts >= :since AND order_ts < :until AND user_id <> ''
  ) AS events
  GROUP BY user_id
  HAVING SUM(clicks) > 0
) AS users
GROUP BY step
