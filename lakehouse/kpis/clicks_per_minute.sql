/*
order: 4
topic: clicks_topic
doc: Clicks and users by page and device; page is the url path's first segment after an optional leading `page`.
grain: one row a minute, page and device with a click
columns:
  page: {type: string, doc: "`home` where the path has no segment"}
  device_type:
  clicks: {type: long, unit: count, doc: clicks}
  users: {type: long, unit: count, doc: distinct user_id}
*/
-- Clicks and users of each minute by page and device. A page is the first segment of the url's path after an optional
-- leading `page`; none is `home`. Each url is taken apart once, however often it was clicked.
WITH paths AS (
  SELECT url, REGEXP_REPLACE(url, '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*', '') AS path
  FROM (SELECT DISTINCT url FROM clicks_processed) AS urls
),
segments AS (
  SELECT
    url,
    REGEXP_EXTRACT(path, '^/*([^/?#]*)', 1) AS first_segment,
    REGEXP_EXTRACT(path, '^/*[^/?#]+/+([^/?#]*)', 1) AS second_segment
  FROM paths
),
pages AS (
  SELECT
    url,
    COALESCE(NULLIF(CASE WHEN first_segment = 'page' THEN second_segment ELSE first_segment END, ''), 'home') AS page
  FROM segments
)
SELECT
  DATE_TRUNC('minute', clicks_processed.click_ts) AS window_start,
  DATE_TRUNC('minute', clicks_processed.click_ts) + INTERVAL '1' MINUTE AS window_end,
  pages.page AS page,
  clicks_processed.device_type AS device_type,
  COUNT(*) AS clicks,
  COUNT(DISTINCT clicks_processed.user_id) AS users
FROM clicks_processed
JOIN pages ON pages.url = clicks_processed.url
GROUP BY DATE_TRUNC('minute', clicks_processed.click_ts), pages.page, clicks_processed.device_type
