-- KPI tables that are not what their queries give: how many hours were left out (count) and the newest of them with why,
-- and up to where a new or changed one is still to be filled in. One row a table.
SELECT
  kpi,
  COUNT(hour_start) AS hours,
  MAX(hour_start) AS newest_hour,
  MAX(CASE WHEN hour_start IS NOT NULL THEN reason END) AS reason,
  MAX(filled_to) AS filled_to
FROM {kpi_state}
WHERE hour_start IS NOT NULL OR filled_to IS NOT NULL
GROUP BY kpi
