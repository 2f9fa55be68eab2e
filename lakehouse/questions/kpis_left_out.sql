-- KPI tables that are not what their queries give: how many hours were left out (count) and the newest of them with why,
-- and up to where a new or changed one is still to be filled in. One row a table.
-- Columns: kpi string, hours int, newest_hour timestamp, reason string, filled_to timestamp.
SELECT
  kpi,
  COUNT(hour_start) AS hours,
  MAX(hour_start) AS newest_hour,
  MAX(CASE WHEN nth = 1 THEN reason END) AS reason,
  MAX(filled_to) AS filled_to
FROM (
  SELECT
    kpi,
    hour_start,
    filled_to,
    reason,
    CASE
      WHEN hour_start IS NOT NULL
      THEN ROW_NUMBER() OVER (PARTITION BY kpi ORDER BY CASE WHEN hour_start IS NULL THEN 1 ELSE 0 END, hour_start DESC NULLS LAST)
    END AS nth
  FROM {kpi_state}
  WHERE hour_start IS NOT NULL OR filled_to IS NOT NULL
) AS standing
GROUP BY kpi
