-- Payments (count) of [:since, :until), the amount captured in the shop's currency, and the part that failed in percent;
-- null where there was none.
-- Columns: payments int, captured decimal, failed_percent double.
SELECT
  SUM(payments) AS payments,
  SUM(CASE WHEN state = 'CAPTURED' THEN amount ELSE 0 END) AS captured,
  100.0E0 * SUM(CASE WHEN state = 'FAILED' THEN payments ELSE 0 END) / NULLIF(SUM(payments), 0) AS failed_percent
FROM {payments_per_minute}
WHERE window_start >= :since AND window_start < :until
