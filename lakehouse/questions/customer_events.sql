-- What these :users did in [:since, :until), newest first, at most :most: clicks (what is the address, device) and orders
-- (what is the product, with order_id, status and order_total in the shop's currency). `step` tells a click on the cart
-- (cart), an order (ordered) and one that was cancelled (failed); :page is lakehouse.kinds.CLICK_PAGE.
-- Columns: event_key string, moment timestamp, user_id string, done string, what string, detail string,
--   amount decimal, order_id string, step string, produced_at timestamp.
SELECT event_key, moment, user_id, done, what, detail, amount, order_id, step, produced_at
FROM (
  SELECT
    event_key,
    click_ts AS moment,
    user_id,
    'click' AS done,
    url AS what,
    device_type AS detail,
    CAST(NULL AS DECIMAL(18, 2)) AS amount,
    CAST(NULL AS VARCHAR) AS order_id,
    CASE WHEN :page = 'cart' THEN 'cart' ELSE 'click' END AS step,
    produced_at
  FROM {clicks_processed}
  WHERE click_ts >= :since AND click_ts < :until AND user_id IN (:users)
  UNION ALL
  SELECT
    event_key,
    order_ts AS moment,
    user_id,
    'order' AS done,
    CONCAT(order_id, ', product ', product_id) AS what,
    status AS detail,
    order_total AS amount,
    order_id,
    CASE WHEN status = 'CANCELLED' THEN 'failed' ELSE 'ordered' END AS step,
    produced_at
  FROM {orders_processed}
  WHERE order_ts >= :since AND order_ts < :until AND user_id IN (:users)
) AS events
ORDER BY moment DESC, event_key
LIMIT :most
