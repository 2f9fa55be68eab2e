-- For each minute of [:since, :until) with a click: users who clicked (without guests), and how many of them ordered in
-- it (counts).
-- Columns: moment timestamp, users int, buyers int.
SELECT moment, COUNT(*) AS users, SUM(CASE WHEN ordered > 0 THEN 1 ELSE 0 END) AS buyers
FROM (
  SELECT moment, user_id, SUM(ordered) AS ordered, SUM(clicked) AS clicked
  FROM (
    SELECT DATE_TRUNC('MINUTE', click_ts) AS moment, user_id, 0 AS ordered, 1 AS clicked
    FROM {clicks_processed}
    WHERE click_ts >= :since AND click_ts < :until AND user_id <> ''
    UNION ALL
    SELECT DATE_TRUNC('MINUTE', order_ts) AS moment, user_id, 1 AS ordered, 0 AS clicked
    FROM {orders_processed}
    WHERE order_ts >= :since AND order_ts < :until AND user_id <> ''
  ) AS events
  GROUP BY moment, user_id
) AS users
WHERE clicked > 0
GROUP BY moment
