"""Owns what an attack is, how each kind is made, and those that are statements."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pymysql

from tests.server.attackers import Answer, Target

How = str | Callable[[Target, str | None], Answer]


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: What is tried.
        role: With whose token; None for none.
        how: A statement, or a function that does it.
        status: The right answer.
        code: The right error code, where there is one.
    """

    name: str
    role: str | None
    how: How
    status: int | tuple[int, ...]
    code: str = ""


def http(method: str, path: str, **keywords: Any) -> How:
    return lambda target, role: target.http(role, method, path, **keywords)


def sql(text: str, params: Any = None, **keywords: Any) -> How:
    return lambda target, role: target.sql(role, text, params, **keywords)


def raw(text: str, body: bytes = b"") -> How:
    """A request by hand: `TOKEN` is the role's own, `LENGTH` that of the body."""

    def attack(target: Target, role: str | None) -> Answer:
        token = target.tokens[role] if role else ""
        head = (
            text.strip("\n").replace("\n", "\r\n").replace("TOKEN", token).replace("LENGTH", str(len(body)))
        )
        return target.raw(head.encode("latin-1").replace(b"\\n", b"\n") + b"\r\n\r\n" + body)

    return attack


def mysql(*texts: str, password: str | None = None) -> How:
    return lambda target, role: target.mysql(role, *texts, password=password)


def killed(text: str) -> How:
    """An admin's MySQL connection, to be killed by somebody else."""

    def attack(target: Target, role: str | None) -> Answer:
        with pymysql.connect(
            host="127.0.0.1", port=target.server.mysql_port, user="the_admin", password=target.tokens["admin"]
        ) as client:
            answer = target.mysql(role, text.format(client.thread_id()))
            client.ping(reconnect=False)
        return answer

    return attack


def several(*statements: tuple[str, str]) -> How:
    """Statements of two sessions, `a` and `b`, of the role; the last answer counts."""

    def attack(target: Target, role: str | None) -> Answer:
        names = {
            each: json.loads(target.http(role, "POST", "/api/sql/sessions").text)["session"]
            for each in ("a", "b")
        }
        answer = Answer(0)
        for who, text in statements:
            answer = target.sql(role, text, headers={"Mindsql-Session": names[who]})
        for name in names.values():
            target.http(role, "DELETE", f"/api/sql/sessions/{name}")
        return answer

    return attack


def stolen(call: Callable[[Target, str | None, str], Answer]) -> How:
    """An admin's session, whose name got about."""

    def attack(target: Target, role: str | None) -> Answer:
        name = json.loads(target.http("admin", "POST", "/api/sql/sessions").text)["session"]
        answer = call(target, role, name)
        assert target.http("admin", "DELETE", f"/api/sql/sessions/{name}").status == 204
        return answer

    return attack


def left_over(leave: str, look: str) -> How:
    """What one request leaves is not there for the next, whatever connection that gets."""

    def attack(target: Target, role: str | None) -> Answer:
        assert target.sql("write", leave).status == 200
        answers = [target.sql(role, look) for _ in range(5)]
        assert len({(answer.status, answer.text) for answer in answers}) == 1
        return answers[0]

    return attack


def model_at(url: str) -> str:
    """A model of a URL: where would a server let itself be led?"""
    return (
        f"CREATE OR REPLACE MODEL led PREDICT y USING format = 'ray_serve', url.predict = '{url}', "
        "dtype_dict = {'a': 'integer', 'y': 'float'}"
    )


OK_QUERY = b'{"query": "SELECT 1"}'
POST = "POST /api/sql/query HTTP/1.1\nHost: localhost\nAuthorization: Bearer TOKEN\nContent-Type: application/json\n"

FILES = [
    Attack("read a file by a path up", "read", "SELECT * FROM read_csv('FOLDER/allowed/../secret.csv')", 403, "ACCESS"),
    Attack("read a file by a relative path up", "read",
           "SELECT * FROM read_csv('allowed/../secret.csv')", 403, "ACCESS"),
    Attack("read the system's users", "read", "SELECT * FROM read_text('/etc/passwd')", 403, "ACCESS"),
    Attack("read by a name in FROM", "read", "SELECT * FROM 'FOLDER/secret.csv'", 403, "ACCESS"),
    Attack("read by a quoted name in FROM", "read", 'SELECT * FROM "FOLDER/secret.csv"', 403, "ACCESS"),
    Attack("read in a subquery", "read",
           "SELECT (SELECT max(size) FROM read_blob('FOLDER/shop.duckdb'))", 403, "ACCESS"),
    Attack("read in a CTE", "read", "WITH x AS (FROM read_text('FOLDER/secret.csv')) SELECT * FROM x", 403, "ACCESS"),
    Attack("read through a view", "write", "CREATE VIEW v AS FROM read_csv('FOLDER/secret.csv')", 403, "ACCESS"),
    Attack("read through a macro", "write", "CREATE MACRO f(p) AS TABLE FROM read_csv(p)", 403, "ACCESS"),
    Attack("read by a path put together", "read", "FROM read_csv('FOLDER/allowed' || '/../secret.csv')", 403, "ACCESS"),
    Attack("read by a path in a variable", "read", "FROM read_csv(getvariable('p'))", 403, "ACCESS"),
    Attack("read by a path as a parameter", "read", sql("FROM read_csv($1)", ["/etc/passwd"]), 403, "ACCESS"),
    Attack("read the database file itself", "read", "FROM read_blob('FOLDER/shop.duckdb')", 403, "ACCESS"),
    Attack("list the files of the machine", "read", "FROM glob('FOLDER/*')", 403, "ACCESS"),
    Attack("sniff at a file", "read", "FROM sniff_csv('FOLDER/secret.csv')", 403, "ACCESS"),
    Attack("fetch from the web", "read", "FROM read_csv('http://127.0.0.1:INSIDE/x.csv')", 403, "ACCESS"),
    Attack("train on a file", "write",
           "CREATE MODEL k FROM (SELECT * FROM read_csv('FOLDER/secret.csv')) PREDICT secret",
           403, "ACCESS"),
    Attack("write a file", "admin", "COPY flats TO 'FOLDER/owned.csv'", 403, "ACCESS"),
    Attack("write a file in an allowed folder", "admin", "COPY flats TO 'FOLDER/allowed/owned.csv'", 403, "ACCESS"),
    Attack("write predictions to a file", "admin",
           "COPY (SELECT m.rent FROM flats JOIN price AS m) TO 'FOLDER/owned.csv'", 403, "ACCESS"),
    Attack("overwrite the log of the database", "admin", "COPY (SELECT 1) TO 'FOLDER/shop.duckdb.wal'", 403, "ACCESS"),
    Attack("overwrite it from within a query", "read",
           "WITH x AS (COPY flats TO 'FOLDER/shop.duckdb.wal') SELECT 1", 403, "ACCESS"),
    Attack("load the database file as rows", "write",
           "COPY flats FROM 'FOLDER/shop.duckdb' (FORMAT csv)", 403, "ACCESS"),
    Attack("prepare a write to a file", "admin", "PREPARE p AS COPY flats TO 'FOLDER/owned.csv'", 403, "ACCESS"),
    Attack("export the database", "admin", "EXPORT DATABASE 'FOLDER/owned'", 403, "ACCESS"),
    Attack("import a database", "admin", "IMPORT DATABASE 'FOLDER/allowed'", 403, "ACCESS"),
    Attack("attach a file", "admin", "ATTACH 'FOLDER/owned.duckdb' AS owned", 403, "ACCESS"),
    Attack("attach memory", "admin", "ATTACH ':memory:' AS owned", 403, "ACCESS"),
    Attack("detach the database", "admin", "DETACH shop", 403, "ACCESS"),
    Attack("install an extension", "admin", "INSTALL httpfs", 403, "ACCESS"),
    Attack("load an extension", "admin", "LOAD 'FOLDER/allowed/x.csv'", 403, "ACCESS"),
    Attack("a database over the whole disk", "admin",
           "CREATE DATABASE disk WITH ENGINE = 'files', PARAMETERS = {'path': '/'}", 403, "ACCESS"),
    Attack("a database of a file outside", "admin",
           "CREATE DATABASE other WITH ENGINE = 'duckdb', PARAMETERS = {'path': 'FOLDER/owned.duckdb'}", 403, "ACCESS"),
    Attack("media from the whole disk", "write",
           "CREATE MODEL k PREDICT y USING engine = 'hf_api', task = 'image-classification', media_root = '/', "
           "input_column = 'path', base_url = 'https://example.com'", 403, "ACCESS"),
    Attack("a path up in a URL", "read", http("GET", "/models/..%2f..%2f..%2fetc%2fpasswd"), 404),
    Attack("a path up by hand", "read",
           raw("GET /../../../../etc/passwd HTTP/1.1\nHost: localhost\nX-Api-Key: TOKEN"), 404),
]  # fmt: skip

CODE = [
    Attack("load a pickle", "write", "CREATE MODEL k PREDICT y USING path = 'FOLDER/allowed/evil.pkl'", (400, 403)),
    Attack("load a pickle that is said to be trusted", "admin",
           "CREATE MODEL k PREDICT y USING path = 'FOLDER/allowed/evil.pkl', trusted = true", 403, "ACCESS"),
    Attack("ask a model as if it were trusted", "predict", "SELECT rent FROM price WHERE sqft = 1 USING trusted = true",
           403, "ACCESS"),
    Attack("a model from a file outside", "write",
           "CREATE MODEL k PREDICT y USING path = '/etc/passwd'", 403, "ACCESS"),
    Attack("a class by its import path", "write",
           "CREATE MODEL k FROM (SELECT * FROM flats) PREDICT rent USING estimator = 'os.system'", 404, "UNKNOWN_NAME"),
    Attack("an expression for a class", "write",
           "CREATE MODEL k FROM (SELECT * FROM flats) PREDICT rent USING estimator = '__import__(\"os\").getcwd()'",
           404, "UNKNOWN_NAME"),
    Attack("a module for a handler", "admin", "CREATE ML_ENGINE e FROM os", 404, "UNKNOWN_NAME"),
    Attack("a module for an engine", "write",
           "CREATE MODEL k FROM (SELECT * FROM flats) PREDICT rent USING engine = 'subprocess'", 404, "UNKNOWN_NAME"),
    Attack("the server's Python variables", "read", "SELECT * FROM service", 404, "UNKNOWN_NAME"),
    Attack("a pointer into memory", "read", "SELECT * FROM arrow_scan(140000000, 1, 2)", 403, "ACCESS"),
    Attack("an aggregate state made by hand", "read", "SELECT finalize('\\x00'::BLOB)", 403, "ACCESS"),
    Attack("a serialised statement", "read",
           "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))", 403, "ACCESS"),
]  # fmt: skip

CATALOG = [
    Attack("read the digests of tokens", "admin", "SELECT * FROM mindsql._tokens", 403, "ACCESS"),
    Attack("make oneself admin", "write", "UPDATE mindsql._tokens SET role = 'admin'", 403, "ACCESS"),
    Attack("... in another case and quotes", "write", 'UPDATE "MINDSQL"."_ToKeNs" SET role = \'admin\'', 403, "ACCESS"),
    Attack("... across a comment", "write", "UPDATE mindsql/**/./**/_tokens SET role = 'admin'", 403, "ACCESS"),
    Attack("... by the whole name", "write", "UPDATE shop.mindsql._tokens SET role = 'admin'", 403, "ACCESS"),
    Attack("... by an escape", "read", r"SELECT * FROM e'\x5ftokens'", 403, "ACCESS"),
    Attack("a file by a character nobody sees", "read", "FROM read_blob\u200b('/etc/passwd')", 403, "ACCESS"),
    Attack("the place of a built-in", "write", "CREATE MACRO json_serialize_sql(x) AS '{{}}'", 403, "ACCESS"),
    Attack("... of an operator", "write", 'CREATE OR REPLACE MACRO main."+"(a, b) AS 7', 403, "ACCESS"),
    Attack("... for a while", "write", "CREATE TEMP MACRO Duckdb_Tables() AS TABLE SELECT 1", 403, "ACCESS"),
    Attack("... as a function", "write", 'CREATE FUNCTION "duckdb_functions"() AS TABLE SELECT 1', 403, "ACCESS"),
    Attack("... by a word joiner", "read", "SELECT * FROM query\u2060('FROM mindsql._tok' || 'ens')", 403, "ACCESS"),
    Attack("... by a byte order mark", "read", "SELECT nextval\ufeff('s')", 403, "ACCESS"),
    Attack("put an artifact in", "write", "INSERT INTO mindsql._artifacts VALUES ('x', 'x', 'x', 'x')", 403, "ACCESS"),
    Attack("drop the catalog", "write", "DROP SCHEMA mindsql CASCADE", 403, "ACCESS"),
    Attack("a text that is run", "read", "SELECT * FROM query('FROM mindsql._tok' || 'ens')", 403, "ACCESS"),
    Attack("a table by a text", "read", "SELECT * FROM query_table('_tok' || 'ens')", 403, "ACCESS"),
    Attack("look for names in the catalog", "read", "SET search_path = 'mindsql'", 403, "ACCESS"),
    Attack("use the catalog", "read", "USE shop.mindsql", 403, "ACCESS"),
    Attack("use the catalog by the context", "read",
           lambda t, r: t.http(r, "POST", "/api/sql/query",
                               json={"query": "SELECT 1", "context": {"db": "shop.mindsql"}}), 403, "ACCESS"),
    Attack("a view over the catalog", "write", "CREATE VIEW v AS SELECT * FROM mindsql._engines", 403, "ACCESS"),
    Attack("a trigger into the catalog", "write",
           "CREATE TRIGGER t AFTER INSERT ON flats REFERENCING NEW TABLE AS n FOR EACH STATEMENT "
           "DELETE FROM mindsql._tokens", 403, "ACCESS"),
    Attack("train on artifacts", "write", "CREATE MODEL k FROM (SELECT * FROM mindsql._artifacts) PREDICT name",
           403, "ACCESS"),
    Attack("statistics of the tokens' columns", "read", "PRAGMA storage_info('mindsql._tokens')", 403, "ACCESS"),
    Attack("copy the database", "admin", "COPY FROM DATABASE shop TO shop", 403, "ACCESS"),
]  # fmt: skip

SETTINGS = [
    Attack("more memory", "admin", "SET memory_limit = '1TB'", 403, "ACCESS"),
    Attack("open the machine again", "admin", "SET enable_external_access = true", 403, "ACCESS"),
    Attack("unlock", "admin", "RESET lock_configuration", 403, "ACCESS"),
    Attack("another folder", "admin", "SET allowed_directories = ['/']", 403, "ACCESS"),
    Attack("profiles into a file", "admin", "PRAGMA profiling_output = 'FOLDER/owned'", 403, "ACCESS"),
    Attack("logs into a file", "admin", "CALL enable_logging(storage = 'file', storage_path = 'FOLDER/owned')",
           403, "ACCESS"),
    Attack("a setting of all sessions", "read", "SET GLOBAL TimeZone = 'Pacific/Chatham'", 403, "ACCESS"),
    Attack("a secret of DuckDB", "admin", "CREATE SECRET s (TYPE http, BEARER_TOKEN 'x')", 403, "ACCESS"),
    Attack("show secrets", "admin", "SELECT * FROM duckdb_secrets()", 403, "ACCESS"),
    Attack("a variable of the environment", "read", "SELECT getenv('PATH')", 403, "ACCESS"),
    Attack("a variable of the environment, sent off", "write",
           "CREATE MODEL k PREDICT y USING engine = 'hf_api', task = 'text-classification', "
           "base_url = 'https://example.com', api_key = env('PATH')", 403, "ACCESS"),
    Attack("one value larger than the memory", "read", "SELECT len(range(4000000000))", 503, "MEMORY_LIMIT"),
    Attack("more memory than there is", "read", "SELECT list(i) FROM range(1000000000) r(i)", 503, "MEMORY_LIMIT"),
]  # fmt: skip

ROLES = [
    Attack("a reader writes", "read", "INSERT INTO flats VALUES (1, 1)", 403, "ACCESS"),
    Attack("... in a CTE", "read", "WITH x AS (DELETE FROM flats RETURNING *) SELECT * FROM x", 403, "ACCESS"),
    Attack("... in a CTE of a CTE", "read",
           "WITH x AS (WITH y AS (SELECT 1) DELETE FROM flats RETURNING *) SELECT * FROM x", 403, "ACCESS"),
    Attack("... in EXPLAIN ANALYZE", "read", "EXPLAIN ANALYZE DELETE FROM flats", 403, "ACCESS"),
    Attack("... in EXPLAIN with options", "read", "EXPLAIN (ANALYZE, FORMAT json) DELETE FROM flats", 403, "ACCESS"),
    Attack("... behind another statement", "read", "SELECT 1; DELETE FROM flats", 403, "ACCESS"),
    Attack("... behind a string that ends otherwise", "read", r"SELECT 'a\'; DELETE FROM flats; --'", (200, 400, 403)),
    Attack("... behind a comment", "read", "/* SELECT */ -- x\nDELETE FROM flats", 403, "ACCESS"),
    Attack("... in a prepared statement", "read", "PREPARE p AS DELETE FROM flats", 403, "ACCESS"),
    Attack("... in a prepared statement with a model", "predict",
           "PREPARE p AS INSERT INTO flats SELECT f.* FROM flats f JOIN price", 403, "ACCESS"),
    Attack("prepare a COPY with a model", "admin",
           "PREPARE p AS COPY (SELECT m.* FROM flats JOIN price AS m) TO 'FOLDER/owned.csv'", 403, "ACCESS"),
    Attack("prepare a question to a model", "read", "PREPARE p AS SELECT m.* FROM flats JOIN price AS m; EXECUTE p",
           403, "ACCESS"),
    Attack("a file as the value of a prepared statement", "predict",
           "PREPARE p AS SELECT * FROM price WHERE sqft = $1; EXECUTE p((FROM read_text('FOLDER/secret.csv')))",
           403, "ACCESS"),
    Attack("a write in the value of a prepared statement", "predict",
           "PREPARE p AS SELECT * FROM price WHERE sqft = $1; "
           "EXECUTE p((WITH q AS (DELETE FROM flats RETURNING 1) FROM q))", (400, 403)),
    Attack("... into a variable", "read", "SET VARIABLE x = (WITH q AS (DELETE FROM flats RETURNING 1) FROM q)",
           403, "ACCESS"),
    Attack("... in a query of a project", "read", "SELECT * FROM mindsql (DELETE FROM flats RETURNING *)",
           403, "ACCESS"),
    Attack("... in one behind another", "read", "SELECT * FROM mindsql (SELECT 1; DELETE FROM flats)", 403, "ACCESS"),
    Attack("... in a native query", "read", "SELECT * FROM shop (DELETE FROM flats RETURNING *)", 403, "ACCESS"),
    Attack("... in a native query behind another", "read", "SELECT * FROM shop (SELECT 1; DELETE FROM flats)",
           403, "ACCESS"),
    Attack("... by a sequence", "read", "SELECT nextval('numbers')", 403, "ACCESS"),
    Attack("... a temporary table", "read", "CREATE TEMP TABLE x AS SELECT 1", 403, "ACCESS"),
    Attack("a reader asks a model", "read", "SELECT rent FROM price WHERE sqft = 500", 403, "ACCESS"),
    Attack("... in a subquery", "read", "SELECT (SELECT max(m.rent) FROM flats JOIN price AS m)", 403, "ACCESS"),
    Attack("... with EXPLAIN ANALYZE", "read",
           "EXPLAIN ANALYZE SELECT rent FROM price WHERE sqft = 500", 403, "ACCESS"),
    Attack("who predicts trains", "predict", "CREATE MODEL k FROM (SELECT * FROM flats) PREDICT rent", 403, "ACCESS"),
    Attack("who predicts retrains", "predict", "RETRAIN price", 403, "ACCESS"),
    Attack("who predicts drops", "predict", "DROP MODEL price", 403, "ACCESS"),
    Attack("who writes makes an engine", "write", "CREATE ML_ENGINE e FROM hf_api", 403, "ACCESS"),
    Attack("who writes makes a database", "write",
           "CREATE DATABASE d WITH ENGINE = 'files', PARAMETERS = {'path': 'allowed'}", 403, "ACCESS"),
    Attack("who writes ends transactions of others", "write", "FORCE CHECKPOINT", 403, "ACCESS"),
    Attack("who writes makes a token", "write",
           http("POST", "/tokens", json={"name": "x", "role": "admin"}), 403, "ACCESS"),
    Attack("who writes lists tokens", "write", http("GET", "/tokens"), 403, "ACCESS"),
    Attack("who writes revokes a token", "write", http("DELETE", "/tokens/the_admin"), 403, "ACCESS"),
    Attack("SQL in a parameter", "read",
           sql("SELECT * FROM flats WHERE sqft::VARCHAR = $1", ["'; DELETE FROM flats; --"]),
           200),
    Attack("SQL in a parameter's name", "read", sql("SELECT $a", {'a"; DELETE FROM flats; --': 1}), 400),
    Attack("SQL in the context", "read",
           lambda t, r: t.http(r, "POST", "/api/sql/query",
                               json={"query": "SELECT 1", "context": {"db": 'x"; DELETE FROM flats; --'}}), (400, 404)),
    Attack("SQL in a model's URL", "predict", http("GET", "/models/price%22;DELETE%20FROM%20flats;--"), 404),
]  # fmt: skip

STATEMENTS = [*FILES, *CODE, *CATALOG, *SETTINGS, *ROLES]
