-- Clicks and users of each minute by page and device. A page is the first segment of the url's path after an optional
-- leading `page`; none is `home`.
WITH paths AS (
  SELECT
    DATE_TRUNC('minute', click_ts) AS window_start,
    user_id,
    device_type,
    REGEXP_REPLACE(url, '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*', '') AS path
  FROM clicks_processed
),
pages AS (
  SELECT
    window_start,
    user_id,
    device_type,
    REGEXP_EXTRACT(path, '^/*([^/?#]*)', 1) AS first_segment,
    REGEXP_EXTRACT(path, '^/*[^/?#]*/+([^/?#]*)', 1) AS second_segment
  FROM paths
)
SELECT
  window_start,
  window_start + INTERVAL '1' MINUTE AS window_end,
  COALESCE(NULLIF(CASE WHEN first_segment = 'page' THEN second_segment ELSE first_segment END, ''), 'home') AS page,
  device_type,
  COUNT(*) AS clicks,
  COUNT(DISTINCT user_id) AS users
FROM pages
GROUP BY
  window_start,
  COALESCE(NULLIF(CASE WHEN first_segment = 'page' THEN second_segment ELSE first_segment END, ''), 'home'),
  device_type
