-- Rows of the tables that people ask for first: one row, counts.
-- Columns: orders int, clicks int, errors int, alerts int, dead_letters int.
SELECT
  (SELECT COUNT(*) FROM {orders_processed}) AS orders,
  (SELECT COUNT(*) FROM {clicks_processed}) AS clicks,
  (SELECT COUNT(*) FROM {errors_processed}) AS errors,
  (SELECT COUNT(*) FROM {alerts}) AS alerts,
  (SELECT COUNT(*) FROM {dead_letters}) AS dead_letters
