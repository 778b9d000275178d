-- DuckDB's statements, one a line: each parses, and what is generated DuckDB prepares. Run over the tables that
-- the test makes: t (a int, b varchar, c double, d int[], s struct(x int), w timestamp), u (a int, e int).
FROM t
FROM t SELECT a
FROM t SELECT a, b WHERE a > 1
FROM t JOIN u USING (a) SELECT a, e
FROM (FROM t, u SELECT t.a, u.e) SELECT a WHERE e > 1
SELECT * FROM (t JOIN u ON t.a = u.a) LEFT JOIN u AS v ON v.a = t.a
TABLE t
VALUES (1), (2)
(SELECT 1)
SELECT 1, -1, 1.5, 1e-3, 1_000, 'it''s', $$a;b$$, $q$a;b$q$, E'a\'b\nc', TRUE, NULL
SELECT $1, $2
SELECT $name
SELECT * EXCLUDE (a) FROM t
SELECT * REPLACE (a + 1 AS a) FROM t
SELECT * RENAME (a AS z) FROM t
SELECT COLUMNS('a|b') FROM t
SELECT COLUMNS(* EXCLUDE (a)) FROM t
SELECT * LIKE 'a%' FROM t
SELECT t.* EXCLUDE a, u.* FROM t, u
SELECT list_transform([1, 2], lambda x: x + 1)
SELECT [x + 1 FOR x IN [1, 2] IF x > 1]
SELECT {'a': {'b': 1}}, {'a': [1, 2]}, MAP {'k': 1}
SELECT d[1], d[1:2], d[-1], s.x, s['x'] FROM t
SELECT struct_pack(x := 1)
SELECT x: 1, y: 2
SELECT a FROM t QUALIFY row_number() OVER (ORDER BY a) = 1
SELECT sum(a) FILTER (WHERE a > 1), b FROM t GROUP BY ALL ORDER BY ALL
SELECT a, sum(c) OVER w FROM t WINDOW w AS (PARTITION BY b ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
SELECT * FROM t GROUP BY ROLLUP (a, b, c, d, s, w)
SELECT a, b FROM t GROUP BY GROUPING SETS ((a), (b))
SELECT DISTINCT ON (a) a, b FROM t ORDER BY a
SELECT sum(DISTINCT a ORDER BY a), first(b ORDER BY a DESC) FROM t
SELECT * FROM t ASOF JOIN u ON t.a >= u.a
SELECT * FROM t POSITIONAL JOIN u
SELECT * FROM t SEMI JOIN u USING (a)
SELECT * FROM t ANTI JOIN u ON t.a = u.a
SELECT * FROM t LEFT JOIN u ON t.a = u.a AND u.e > 1
SELECT * FROM t FULL JOIN u USING (a)
SELECT * FROM t NATURAL JOIN u
SELECT * FROM t CROSS JOIN u
SELECT * FROM t, LATERAL (SELECT t.a + 1 AS z) AS q
SELECT * FROM (VALUES (1, 'a')) AS v(x, y)
SELECT * FROM range(10)
SELECT * FROM range((SELECT 3))
SELECT * FROM range(10) AS r(i), t
SELECT * FROM unnest([1, 2]) AS q(z), generate_series(1, 3)
SELECT unnest(d) FROM t
SELECT * FROM t USING SAMPLE 10%
SELECT * FROM t TABLESAMPLE 10 ROWS
SELECT a FROM t LIMIT 10%
SELECT a FROM t ORDER BY a DESC NULLS LAST LIMIT 3 OFFSET 1
SELECT a FROM t UNION SELECT a FROM u
SELECT a FROM t UNION ALL BY NAME SELECT a, e FROM u
SELECT a FROM t EXCEPT SELECT a FROM u
(SELECT a FROM t ORDER BY a LIMIT 1) UNION ALL (SELECT a FROM u)
WITH x AS (SELECT 1 AS n) SELECT * FROM x
WITH x(n) AS MATERIALIZED (SELECT 1) FROM x
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r
SELECT a FROM t WHERE a IN (SELECT a FROM u) AND EXISTS (SELECT 1 FROM u WHERE u.a = t.a)
SELECT a FROM t WHERE a = ANY (SELECT a FROM u) OR (SELECT max(a) FROM u) > 3
SELECT array(SELECT a FROM u)
SELECT CASE a WHEN 1 THEN .5 ELSE 2 END FROM t
SELECT CASE WHEN a > .5 AND b IS NOT NULL THEN 1 END FROM t
SELECT a::VARCHAR, try_cast(b AS INT), cast(a AS DECIMAL(10, 2)) FROM t
SELECT b LIKE 'x%' ESCAPE '!', b ILIKE 'a', b NOT LIKE 'b', b GLOB 'x*', b SIMILAR TO 'z' FROM t
SELECT a // 2, a % 2, a ** 2, b || 'x', a & 1, a << 1, ~a, a != 1, a <> 1, a == 1 FROM t
SELECT 1 IS DISTINCT FROM 2, 1 IS NOT DISTINCT FROM NULL
SELECT INTERVAL 1 DAY, INTERVAL '2 hours', DATE '2020-01-01', TIMESTAMP '2020-01-01 00:00:00'
SELECT date_trunc('month', w), extract(year FROM w), w + INTERVAL 1 DAY, strftime(w, '%Y') FROM t
SELECT current_date, now(), today()
SELECT b.upper(), b.lower().length() FROM t
SELECT a BETWEEN 1 AND 2, a NOT IN (1, 2), b IS NULL FROM t
SELECT 'a' COLLATE nocase
SELECT model, predict, status, engine, version, "window", horizon FROM (SELECT 1 AS model, 2 AS predict, 3 AS status, 4 AS engine, 5 AS version, 6 AS "window", 7 AS horizon)
SELECT "a b", "3" FROM (SELECT 1 AS "a b", 2 AS "3")
SELECT t FROM t
SELECT regexp_extract(b, '(a)(b)', 1), string_split(b, ','), b[1:2] FROM t
SELECT coalesce(a, 1), nullif(a, 1), ifnull(a, 1), greatest(a, 1) FROM t
SELECT quantile_cont(a, 0.5), arg_max(b, a), list(a), histogram(a), approx_count_distinct(a) FROM t
SELECT lag(a) OVER (ORDER BY w), ntile(4) OVER (PARTITION BY b ORDER BY a) FROM t
SELECT json_extract('{"a": 1}', '$.a')
SELECT hash(a), md5(b), random() < 2 FROM t
SELECT * FROM t PIVOT (sum(a) FOR b IN ('x', 'y'))
PIVOT t ON b IN ('x', 'y') USING sum(a) GROUP BY c
UNPIVOT t ON a, c INTO NAME n VALUE v
SELECT * FROM (SELECT a FROM t) WHERE a NOT NULL
CREATE TABLE z AS SELECT * FROM t
CREATE OR REPLACE TEMP TABLE z AS FROM t
CREATE TABLE IF NOT EXISTS z AS SELECT 1 AS a
CREATE VIEW z(x) AS SELECT a FROM t
CREATE TEMP VIEW z AS SELECT a FROM t
INSERT INTO u SELECT a, a FROM t
INSERT INTO u (a) SELECT a FROM t
INSERT INTO u (SELECT a, a FROM t)
INSERT INTO u BY NAME SELECT a FROM t
INSERT INTO u BY POSITION SELECT a, a FROM t
INSERT INTO u BY POSITION (e, a) FROM t SELECT a, a
INSERT INTO u VALUES (1, 2), (3, DEFAULT) RETURNING *
INSERT INTO u DEFAULT VALUES
UPDATE t SET a = 1, b = 'x' WHERE a > 2
UPDATE t SET a = u.e FROM u WHERE t.a = u.a RETURNING t.a
DELETE FROM t WHERE a = 1
DELETE FROM t USING u WHERE t.a = u.a
MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE SET a = 2 WHEN NOT MATCHED THEN INSERT (a) VALUES (u.a)
COPY (SELECT * FROM t) TO 'x.parquet' (FORMAT parquet)
COPY (SELECT * FROM t) TO 'x.csv' (HEADER, DELIMITER '|')
