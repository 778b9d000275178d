SET TimeZone = 'Asia/Kolkata';
SELECT
    NULL AS nothing, true AS yes, 170141183460469231731687303715884105727 AS huge, 0.1::FLOAT AS single,
    1e20::DOUBLE AS big, 'nan'::DOUBLE AS nan, '-inf'::DOUBLE AS infinite, 1.50::DECIMAL(18, 3) AS price,
    DATE '2024-02-29' AS day, DATE '0044-03-15 (BC)' AS ides, TIME '10:00:00.5' AS clock,
    TIMESTAMP '2024-02-29 10:00:00' AS moment, TIMESTAMPTZ '2024-02-29 10:00:00+00' AS zoned,
    [1, NULL, 3] AS list, ['a, b', '', 'NULL', 'plain'] AS words, {'a': 1, 'b c': [0.1::FLOAT, NULL]} AS struct,
    MAP {'k': 1, 'l': NULL} AS map, MAP {[1]: 'x'} AS odd_map, 'ab\x00\xFF'::BLOB AS blob,
    'b'::ENUM ('a', 'b') AS enum, UUID '550e8400-e29b-41d4-a716-446655440000' AS uuid, '{"a": [1, 2]}'::JSON AS json,
    'naïve 東京 👍' AS unicode, E'two\nlines, a "quote" | a tab\t and \x1b[31m' AS text, '' AS empty,
    1 AS twice, 2 AS twice;
