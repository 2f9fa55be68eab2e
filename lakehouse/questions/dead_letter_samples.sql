-- The newest dead letter of each topic and reason received in [:since, :until), with its bytes; :matches is a condition
-- on a row.
-- Columns: topic string, reason string, detail string, payload binary.
SELECT topic, reason, detail, payload
FROM (
  SELECT
    letters.topic,
    letters.reason,
    letters.detail,
    letters.payload,
    ROW_NUMBER() OVER (
      PARTITION BY letters.topic, letters.reason
      ORDER BY letters.source_partition, letters.source_offset DESC
    ) AS place
  FROM (
    SELECT topic, reason, MAX(received_at) AS newest_at
    FROM {dead_letters}
    WHERE received_at >= :since AND received_at < :until
      AND topic IN (:topics)
      AND reason IN (:reasons)
      AND :matches
    GROUP BY topic, reason
  ) AS newest
  JOIN (
    SELECT topic, source_partition, source_offset, received_at, reason, detail, payload
    FROM {dead_letters}
    WHERE received_at >= :since AND received_at < :until
      AND :matches
  ) AS letters
    ON letters.topic = newest.topic AND letters.reason = newest.reason AND letters.received_at = newest.newest_at
) AS placed
WHERE place = 1
