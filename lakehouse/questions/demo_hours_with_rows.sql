-- Which clock hours (UTC, their start) of [:start, :end) have an order, a click or an error: one row an hour and table.
-- Columns: hour_start timestamp.
SELECT DATE_TRUNC('HOUR', order_ts) AS hour_start
FROM {orders_processed}
WHERE order_ts >= :start AND order_ts < :end
GROUP BY DATE_TRUNC('HOUR', order_ts)
UNION ALL
SELECT DATE_TRUNC('HOUR', click_ts) AS hour_start
FROM {clicks_processed}
WHERE click_ts >= :start AND click_ts < :end
GROUP BY DATE_TRUNC('HOUR', click_ts)
UNION ALL
SELECT DATE_TRUNC('HOUR', error_ts) AS hour_start
FROM {errors_processed}
WHERE error_ts >= :start AND error_ts < :end
GROUP BY DATE_TRUNC('HOUR', error_ts)
