-- Distinct users of clicks in the five minutes before each minute's end, by that minute of [:since, :until).
-- Columns: moment timestamp, users int.
SELECT TIMESTAMPADD(MINUTE, -1, window_end) AS moment, active_users_approx AS users
FROM {active_users_per_window}
WHERE window_end > :since AND window_end <= :until
