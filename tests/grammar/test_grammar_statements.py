"""What a statement holds: names, versions, native texts, options, parameters and where they stand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlglot import exp

from mindsql_grammar import (
    NATIVE_PREFIX,
    CreateDatabase,
    CreateEngine,
    CreateModel,
    CreateView,
    Describe,
    Drop,
    DuckDB,
    Env,
    Evaluate,
    Explain,
    Native,
    Parameter,
    ParseError,
    Query,
    Retrain,
    SetActive,
    Show,
    Span,
    Statement,
    parse,
    parse_one,
    parse_query,
    quote,
    suggest_verb,
    to_sql,
)


def test_create_model() -> None:
    text = (
        "CREATE OR REPLACE PREDICTOR p.m FROM db.s ( select 'x;)' ) PREDICT y AS z "
        "ORDER BY d DESC, f(a, b) GROUP BY g WINDOW 8 HORIZON 4 USING a.b = 1, C = [-2, {'k': null}]"
    )
    found = parse_one(text)
    assert isinstance(found, CreateModel)
    assert (found.name, found.target, found.alias) == (("p", "m"), "y", "z")
    assert found.rows is not None
    assert found.rows.native == Native(("db", "s"), " select 'x;)' ")
    assert (found.rows.text, found.rows.query) == (" select 'x;)' ", None)
    assert (found.order_by, found.group_by) == (("d DESC", "F(a, b)"), ("g",))
    assert (found.window, found.horizon, found.or_replace, found.if_not_exists) == (8, 4, True, False)
    assert [(o.path, o.key, o.value) for o in found.options] == [
        (("a", "b"), "a.b", 1),
        (("C",), "C", [-2, {"k": None}]),
    ]
    assert [text[o.span.start : o.span.end] for o in found.options] == ["a.b = 1", "C = [-2, {'k': null}]"]


def test_rows_of_a_query_of_ours() -> None:
    text = "SELECT 1; CREATE MODEL m FROM ( SELECT a FROM t, src (SELECT 'ü') AS s USING k = 1 ) PREDICT a"
    found = parse(text)[1]
    assert isinstance(found, CreateModel)
    assert found.rows is not None
    query = found.rows.query
    assert query is not None
    assert found.rows.text == " SELECT a FROM t, src (SELECT 'ü') AS s USING k = 1 "
    assert query.natives == (Native(("src",), "SELECT 'ü'"),)
    assert [o.key for o in query.options] == ["k"]
    assert found.options == ()
    assert text[query.span.start : query.span.end] == "SELECT a FROM t, src (SELECT 'ü') AS s USING k = 1"


def test_values() -> None:
    text = """
        RETRAIN m USING a = 'it''s', b = "two", c = -1, d = +2.5, e = 1e3, f = .5, g = TRUE, h = bare,
        i = x.y, j = env('X'), k = ?, l = ?, n = {"a": [1, 2,], 'b': {c: null},}, o = [], q = '',
        p = E'\\n\\'\\x41\\u00e9\\101'
    """
    found = parse_one(text)
    assert isinstance(found, Retrain)
    assert {o.key: o.value for o in found.options} == {
        "a": "it's",
        "b": "two",
        "c": -1,
        "d": 2.5,
        "e": 1000.0,
        "f": 0.5,
        "g": True,
        "h": "bare",
        "i": "x.y",
        "j": Env("X"),
        "k": Parameter("1"),
        "l": Parameter("2"),
        "n": {"a": [1, 2], "b": {"c": None}},
        "o": [],
        "p": "\n'AéA",
        "q": "",
    }


def test_versions() -> None:
    query = parse_query("SELECT m.3.y, m.12.* FROM m.3 AS a JOIN p.m.12, t WHERE t.a > .5")
    tables = list(query.tree.find_all(exp.Table))
    assert [(t.db, t.catalog, t.name, t.alias) for t in tables if t.db] == [
        ("m", "", "3", "a"),
        ("m", "p", "12", ""),
    ]
    columns = [(c.args["db"].name, c.table) for c in query.tree.find_all(exp.Column) if c.args.get("db")]
    assert columns == [("m", "3"), ("m", "12")]
    assert parse_one("EVALUATE m.3") == Evaluate(("m",), 3, span=Span(0, 0))
    assert parse_one("DROP MODEL p.m.3") == Drop("model", ("p", "m"), 3, span=Span(0, 0))
    assert parse_one("SET active p.m.3") == SetActive(("p", "m"), 3, span=Span(0, 0))
    assert parse_one("DESCRIBE m.3.info") == Describe(("m", "3", "info"), span=Span(0, 0))
    assert parse_one('DROP MODEL "3"') == Drop("model", ("3",), span=Span(0, 0))


@pytest.mark.parametrize(
    ("text", "sources", "natives"),
    [
        ("SELECT * FROM a (SELECT 1)", [f"{NATIVE_PREFIX}0"], ["SELECT 1"]),
        ("SELECT * FROM a.b (SELECT 1) AS x", [f"{NATIVE_PREFIX}0"], ["SELECT 1"]),
        ('SELECT * FROM "a b" ( select ")" ) x', [f"{NATIVE_PREFIX}0"], [' select ")" ']),
        (
            "SELECT * FROM a (SELECT 1), b (SHOW TABLES)",
            [f"{NATIVE_PREFIX}0", f"{NATIVE_PREFIX}1"],
            ["SELECT 1", "SHOW TABLES"],
        ),
        ("SELECT * FROM t JOIN a(EXEC sp 1) ON TRUE", ["t", f"{NATIVE_PREFIX}0"], ["EXEC sp 1"]),
        ("SELECT * FROM a (SELECT 'it\\'s (' FROM x)", [f"{NATIVE_PREFIX}0"], ["SELECT 'it\\'s (' FROM x"]),
        ("SELECT * FROM a (SELECT 1 -- )\n)", [f"{NATIVE_PREFIX}0"], ["SELECT 1 -- )\n"]),
        ("SELECT * FROM a (/* x */ VALUES (1))", [f"{NATIVE_PREFIX}0"], ["/* x */ VALUES (1)"]),
        ("SELECT * FROM a (SELECT [1:2] @> #x !! \\)", [f"{NATIVE_PREFIX}0"], ["SELECT [1:2] @> #x !! \\"]),
        ("SELECT * FROM (SELECT * FROM a (SELECT 1)) AS x", [f"{NATIVE_PREFIX}0"], ["SELECT 1"]),
        ("FROM a (WITH x AS (SELECT 1) FROM x)", [f"{NATIVE_PREFIX}0"], ["WITH x AS (SELECT 1) FROM x"]),
        ("SELECT (SELECT max(x) FROM a (SELECT 1)) FROM t", [f"{NATIVE_PREFIX}0", "t"], ["SELECT 1"]),
        # These are not ours.
        ("SELECT * FROM range(10)", [""], []),
        ("SELECT * FROM t, LATERAL (SELECT 1) AS x", ["t"], []),
        ("SELECT coalesce(a, array(SELECT 1)) FROM t", ["t"], []),
        ("SELECT a FROM t WHERE a IN (SELECT 1) AND EXISTS (SELECT 2)", ["t"], []),
        ("SELECT a FROM t AS x(a), (SELECT 1) AS y", ["t"], []),
        ("WITH x(a) AS (SELECT 1), y AS (SELECT 2) SELECT * FROM x, y", ["x", "y"], []),
        ("SELECT ' FROM a (SELECT 1)' FROM t", ["t"], []),
        ("SELECT 1 IS DISTINCT FROM (SELECT 1)", [], []),
    ],
)
def test_native_queries(text: str, sources: list[str], natives: list[str]) -> None:
    query = parse_query(text)
    assert sorted(table.name for table in query.tree.find_all(exp.Table)) == sorted(sources)
    assert [native.text for native in query.natives] == natives


def test_parameters_are_numbered_through_the_whole_statement() -> None:
    query = parse_query(
        "SELECT ? FROM src (SELECT ?) AS s, m WHERE a IN (SELECT ?) LIMIT ? USING k = ?, l = {'x': ?}"
    )
    expected = f"SELECT $1 FROM {NATIVE_PREFIX}0 AS s, m WHERE a IN (SELECT $2) LIMIT $3"
    assert query.tree.sql(dialect="duckdb").replace('"', "") == expected
    assert [o.value for o in query.options] == [Parameter("4"), {"x": Parameter("5")}]
    assert query.natives[0].text == "SELECT ?"


def test_create_view() -> None:
    text = "CREATE VIEW v AS (SELECT * FROM t JOIN m USING k = 1)"
    view = parse_one(text)
    assert isinstance(view, CreateView)
    assert (view.text, view.query_text) == (text, "SELECT * FROM t JOIN m USING k = 1")
    assert parse_one(view.query_text) == view.query
    native = parse_one("CREATE VIEW v FROM src ( SELECT 1 )")
    assert isinstance(native, CreateView)
    assert native.query_text == "SELECT * FROM src ( SELECT 1 )"
    assert parse_one(native.query_text) == native.query
    for more in ("CREATE TEMP VIEW v AS SELECT 1", "CREATE VIEW v(a) AS SELECT 1"):
        assert isinstance(parse_one(more), Query)


def test_explain_keeps_where_things_stand() -> None:
    text = "SELECT 1;\nEXPLAIN ANALYZE /* so */ SELECT y FROM m USING k = 1"
    found = parse(text)[1]
    assert isinstance(found, Explain)
    assert isinstance(found.statement, Query)
    span = found.statement.options[0].span
    assert text[span.start : span.end] == "k = 1"
    assert found.analyze
    assert found.text == text[10:]


def test_create_database() -> None:
    text = (
        """CREATE DATABASE d WITH ENGINE = "postgres", PARAMETERS = {"port": 5432, "password": env('PW'),}"""
    )
    found = parse_one(text)
    assert isinstance(found, CreateDatabase)
    assert (found.name, found.engine) == ("d", "postgres")
    assert found.parameters == {"port": 5432, "password": Env("PW")}


def test_show() -> None:
    found = parse_one("SHOW MODELS FROM p LIKE 'a%' WHERE status = 'complete'")
    assert isinstance(found, Show)
    assert (found.what, found.source, found.like) == ("models", ("p",), "a%")
    assert found.where is not None
    assert found.where.sql(dialect="duckdb") == "status = 'complete'"


def test_spans_count_characters() -> None:
    text = "SELECT 'ü日本';\n  CREATE ML_ENGINE größe FROM h USING straße = 'ß', b = 2  ; "
    found = parse(text)
    assert [text[s.span.start : s.span.end] for s in found] == [
        "SELECT 'ü日本'",
        "CREATE ML_ENGINE größe FROM h USING straße = 'ß', b = 2",
    ]
    engine = found[1]
    assert isinstance(engine, CreateEngine)
    assert [text[o.span.start : o.span.end] for o in engine.options] == ["straße = 'ß'", "b = 2"]


def test_spans_and_texts_take_no_part_in_equality() -> None:
    a = parse_one("EXPLAIN  SELECT 1")
    b = parse_one("EXPLAIN SELECT 1 /* the same */")
    assert a == b
    assert hash(a.span) is not None
    assert a != replace(b, analyze=True)  # type: ignore[call-arg]


def test_parse_one_wants_one() -> None:
    for text in ("", " ; ", "-- nothing"):
        with pytest.raises(ParseError, match="no statement"):
            parse_one(text)
        assert parse(text) == []
    with pytest.raises(ParseError, match="one statement") as caught:
        parse_one("SELECT 1; SELECT 2")
    assert caught.value.span == (10, 18)
    with pytest.raises(ParseError, match="expected a query"):
        parse_query("SHOW MODELS")


@pytest.mark.parametrize(
    ("text", "culprit", "hint"),
    [
        ("SHOW MODLES", "MODLES", "did you mean MODELS?"),
        ("SHWO MODELS", "SHWO", "did you mean SHOW?"),
        ("SHOW ML ENGINES", "ML ENGINES", "did you mean ML_ENGINES?"),
        ("CREATE MODLE m", "MODLE", "did you mean MODEL?"),
        ("CRAETE MODLE m", "CRAETE MODLE", "did you mean CREATE MODEL?"),
        ("create /* x */ ml engine e", "ml engine", "did you mean ML_ENGINE?"),
        ("CREATE OR REPLACE MODLE m", "MODLE", "did you mean MODEL?"),
        ("CREATE ANOMLY DETECTION MODEL m", "ANOMLY", "did you mean ANOMALY?"),
        ("DROP PREDICTR m", "PREDICTR", "did you mean PREDICTOR?"),
        ("RETRIAN m", "RETRIAN", "did you mean RETRAIN?"),
        ("FINE TUNE m", "FINE TUNE", "did you mean FINETUNE?"),
        ("EVALUTE m", "EVALUTE", "did you mean EVALUATE?"),
        ("DESCIBE MODEL m", "DESCIBE", "did you mean DESCRIBE?"),
        ("DESCIBE m", "DESCIBE", "did you mean DESCRIBE?"),
    ],
)
def test_misspelt_verbs(text: str, culprit: str, hint: str) -> None:
    error = suggest_verb(text)
    assert error is not None
    assert (text[slice(*error.span)], error.hint) == (culprit, hint)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SELECT * FRM t",
        "CREATE TABEL t (a int)",
        "CREATE TABLE t (a int",
        "DROP TABEL t",
        "SHOW TABLES FORM x",
        "CREATE INDX i ON t (a)",
        "DROP VIEWS v",
        "SELECT MODLE FROM t",
        "(SELECT 1",
        "'x'",
    ],
)
def test_what_is_not_ours_is_not_suggested(text: str) -> None:
    assert suggest_verb(text) is None


def test_quote() -> None:
    assert [quote(p) for p in ("a", "A_1", "größe", "1", "a b", "select", 'a"b', "model", "window")] == [
        "a",
        "A_1",
        "größe",
        '"1"',
        '"a b"',
        '"select"',
        '"a""b"',
        "model",
        '"window"',
    ]


def test_nothing_else_is_a_statement() -> None:
    with pytest.raises(TypeError):
        to_sql(Statement(span=Span(0, 0)))
    assert parse_one("PRAGMA x") == DuckDB("PRAGMA x", span=Span(0, 8))
