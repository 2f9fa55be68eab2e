/*
order: 4
topic: clicks_topic
doc: Clicks and users by page and device; page is the url path's first segment after an optional leading `page`.
grain: one row a minute, page and device with a click
columns:
  page: {type: string, doc: "`home` where the path has no segment"}
  device_type:
  clicks: {type: long, unit: clicks, doc: clicks}
  users: {type: long, unit: users, doc: "distinct user_id, without guests"}
*/
-- Clicks and users of each minute by page and device. A page is the first segment of the url's path after an optional
-- leading `page`; none is `home`.
SELECT
  DATE_TRUNC('minute', click_ts) AS window_start,
  DATE_TRUNC('minute', click_ts) + INTERVAL '1' MINUTE AS window_end,
  COALESCE(
    NULLIF(
      CASE
        WHEN REGEXP_EXTRACT(REGEXP_REPLACE(url, '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*', ''), '^/*([^/?#]*)', 1) = 'page'
        THEN REGEXP_EXTRACT(REGEXP_REPLACE(url, '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*', ''), '^/*[^/?#]+/+([^/?#]*)', 1)
        ELSE REGEXP_EXTRACT(REGEXP_REPLACE(url, '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*', ''), '^/*([^/?#]*)', 1)
      END,
      ''
    ),
    'home'
  ) AS page,
  device_type,
  COUNT(*) AS clicks,
  COUNT(DISTINCT NULLIF(user_id, '')) AS users
FROM clicks_processed
GROUP BY window_start, page, device_type
