/*
order: 1
topic: orders_topic
doc: >-
  Orders and revenue of rows whose status is in orders.counted_statuses; the cancelled_ columns: of CANCELLED rows.
  A row is an order, or with `orders.grain: line` a line of one: then an order counts once in its minute.
grain: one row a minute with an order
columns:
  orders_count: {type: long, unit: orders, doc: orders}
  total_revenue: {type: "decimal(38,2)", unit: currency of the shop, doc: sum of order_total}
  cancelled_count: {type: long, unit: cancelled orders, doc: cancelled orders}
  cancelled_revenue: {type: "decimal(38,2)", unit: currency of the shop, doc: sum of order_total of cancelled orders}
  buyers: {type: long, unit: buyers, doc: "distinct user_id of counted orders, without guests"}
*/
-- Orders and revenue of each minute that holds an order; revenue in the shop's currency.
SELECT
  DATE_TRUNC('minute', order_ts) AS window_start,
  DATE_TRUNC('minute', order_ts) + INTERVAL '1' MINUTE AS window_end,
  COUNT(:distinct CASE WHEN status IN (:counted_statuses) THEN order_id END) AS orders_count,
  SUM(CASE WHEN status IN (:counted_statuses) THEN order_total ELSE 0 END) AS total_revenue,
  COUNT(:distinct CASE WHEN status = 'CANCELLED' THEN order_id END) AS cancelled_count,
  SUM(CASE WHEN status = 'CANCELLED' THEN order_total ELSE 0 END) AS cancelled_revenue,
  COUNT(DISTINCT CASE WHEN status IN (:counted_statuses) THEN NULLIF(user_id, '') END) AS buyers
FROM orders_processed
GROUP BY DATE_TRUNC('minute', order_ts)
