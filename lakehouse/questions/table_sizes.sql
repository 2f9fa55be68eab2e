-- Every table with its rows and files (counts) and the size of the files (bytes), as they are now; :tables are rows of
-- them.
-- Columns: name string, row_count int, files int, bytes int.
SELECT name, row_count, files, bytes
FROM (:tables) AS sizes
ORDER BY name
