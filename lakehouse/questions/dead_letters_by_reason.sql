-- How many dead letters came in [:since, :until), by topic and reason, and when the newest of them did;
-- :matches is a condition on a row.
-- Columns: topic string, reason string, letters int, newest_at timestamp.
SELECT topic, reason, COUNT(*) AS letters, MAX(received_at) AS newest_at
FROM {dead_letters}
WHERE received_at >= :since AND received_at < :until
  AND topic IN (:topics)
  AND reason IN (:reasons)
  AND :matches
GROUP BY topic, reason
ORDER BY letters DESC, topic, reason
