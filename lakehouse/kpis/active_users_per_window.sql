/*
order: 2
topic: clicks_topic
window: 5
doc: >-
  Distinct user_id in clicks over the five minutes before each minute's end, without guests (exact; the column's name
  is history).
grain: one row a minute's end whose five minutes hold a click
columns:
  active_users_approx: {type: long, unit: active users, doc: distinct users}
*/
-- Distinct users in clicks over the five minutes before each of window_ends; ends without a click have no row.
SELECT
  window_ends.window_end - INTERVAL '5' MINUTE AS window_start,
  window_ends.window_end AS window_end,
  COUNT(DISTINCT NULLIF(clicks_processed.user_id, '')) AS active_users_approx
FROM window_ends
JOIN clicks_processed
  ON clicks_processed.click_ts >= window_ends.window_end - INTERVAL '5' MINUTE
  AND clicks_processed.click_ts < window_ends.window_end
GROUP BY window_ends.window_end
