"""Attacks: each is refused with the right status, and leaves the server alive and everything as it was."""

from __future__ import annotations

import contextlib
import gzip
import json
import pickle
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest

from tests.server.attackers import SECRET, Answer, Evil, Target, redirecting, target, workbook_bomb

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
    Attack("... into a variable", "read", "SET VARIABLE x = (WITH q AS (DELETE FROM flats RETURNING 1) FROM q)",
           403, "ACCESS"),
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

TOKENS = [
    Attack("no token", None, "SELECT 1", 401, "AUTHENTICATION"),
    Attack("no token for the description", None, http("GET", "/openapi.json"), 401, "AUTHENTICATION"),
    Attack("no token for the counters", None, http("GET", "/metrics"), 401, "AUTHENTICATION"),
    Attack("an empty token", None, sql("SELECT 1", headers={"Authorization": "Bearer "}), 401, "AUTHENTICATION"),
    Attack("a wrong token", None, sql("SELECT 1", headers={"Authorization": "Bearer msql_x"}), 401, "AUTHENTICATION"),
    Attack("SQL for a token", None, sql("SELECT 1", headers={"X-Api-Key": "' OR '1'='1"}), 401, "AUTHENTICATION"),
    Attack("a token of the right id", None,
           lambda t, r: t.sql(r, "SELECT 1", headers={"X-Api-Key": t.tokens["admin"][:22] + "A" * 43}),
           401, "AUTHENTICATION"),
    Attack("a token as a user's password", None,
           lambda t, r: t.sql(r, "SELECT 1", headers={"Authorization": f"Basic {t.tokens['admin']}"}),
           401, "AUTHENTICATION"),
    Attack("a token in the URL", None,
           lambda t, r: t.http(r, "POST", f"/api/sql/query?token={t.tokens['admin']}", json={"query": "SELECT 1"}),
           401, "AUTHENTICATION"),
    Attack("around an open path", None,
           http("POST", "/health/../api/sql/query", json={"query": "SELECT 1"}), (401, 404)),
    Attack("around an open path, encoded", None,
           http("POST", "/health%2f..%2fapi/sql/query", json={"query": "SELECT 1"}),
           (401, 404)),
    Attack("with two slashes", None, http("POST", "//api/sql/query", json={"query": "SELECT 1"}), (401, 404)),
    Attack("a login with a wrong password", None,
           http("POST", "/api/login", json={"username": "the_admin", "password": "x"}),
           401, "AUTHENTICATION"),
    Attack("another name's login", None,
           lambda t, r: t.http(r, "POST", "/api/login", json={"username": "the_admin", "password": t.tokens["read"]}),
           401, "AUTHENTICATION"),
    Attack("a name that leads here", "admin", sql("SELECT 1", headers={"Host": "evil.example.com"}), 403, "ACCESS"),
    Attack("a page of another origin", "admin", sql("SELECT 1", headers={"Origin": "https://evil.example.com"}),
           403, "ACCESS"),
]  # fmt: skip

SESSIONS = [
    Attack("another session's temporary table", "write",
           several(("a", "CREATE TEMP TABLE mine AS SELECT 1 AS a"), ("b", "SELECT * FROM mine")), 404, "UNKNOWN_NAME"),
    Attack("another session's prepared statement", "write",
           several(("a", "PREPARE mine AS SELECT 1"), ("b", "EXECUTE mine")), (400, 404)),
    Attack("another session's transaction", "write",
           several(("a", "BEGIN"), ("a", "CREATE TABLE mine AS SELECT 1 AS a"), ("b", "SELECT * FROM mine")), 404),
    Attack("a session that is not there", "read",
           sql("SELECT 1", headers={"Mindsql-Session": "1"}), 404, "UNKNOWN_NAME"),
    Attack("an admin's session", "read",
           stolen(lambda t, r, name: t.sql(r, "SELECT 1", headers={"Mindsql-Session": name})), 404, "UNKNOWN_NAME"),
    Attack("end an admin's session", "write",
           stolen(lambda t, r, name: t.http(r, "DELETE", f"/api/sql/sessions/{name}")), 404, "UNKNOWN_NAME"),
    Attack("the last request's temporary table", "read",
           left_over("CREATE TEMP TABLE mine AS SELECT 1 AS a", "SELECT * FROM mine"), 404, "UNKNOWN_NAME"),
    Attack("the last request's prepared statement", "read",
           left_over("PREPARE mine AS SELECT 1", "EXECUTE mine"), (400, 404)),
    Attack("the last request's transaction", "read", left_over("BEGIN", "COMMIT"), 409, "CATALOG"),
    Attack("the last request's variable", "read",
           left_over("SET VARIABLE mine = 'x'", "SELECT error('empty') WHERE getvariable('mine') IS NULL"), 400),
    Attack("the last request's time zone", "read",
           left_over("SET TimeZone = 'Pacific/Chatham'",
                     "SELECT error('other') WHERE current_setting('TimeZone') <> 'Pacific/Chatham'"), 400),
    Attack("cancel a session that is not there", "read", http("DELETE", "/api/sql/sessions/1"), 404, "UNKNOWN_NAME"),
]  # fmt: skip

BODIES = [
    Attack("a body that is too large", "read", sql("SELECT 1 --" + "x" * 1_100_000), 413, "TOO_LARGE"),
    Attack("... in pieces, without a length", "read",
           lambda t, r: t.http(r, "POST", "/api/sql/query", data=(b"x" * 65536 for _ in range(40))), 413, "TOO_LARGE"),
    Attack("a length that is a lie", "read", raw(POST + "Content-Length: 99999999999999", OK_QUERY), 413, "TOO_LARGE"),
    Attack("lists in lists", "read",
           http("POST", "/api/sql/query", data=b'{"query": "SELECT 1", "params": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
                headers={"Content-Type": "application/json"}), (400, 422)),
    Attack("lists in lists, without an end", "read",
           http("POST", "/api/sql/query", data=b"[" * 500_000, headers={"Content-Type": "application/json"}),
           (400, 422)),
    Attack("parentheses in parentheses", "read", "SELECT " + "(" * 50_000 + "1" + ")" * 50_000, 400),
    Attack("... of a model", "predict", "SELECT rent FROM price WHERE sqft = " + "(" * 5_000 + "1" + ")" * 5_000, 400),
    Attack("subqueries in subqueries", "read",
           "SELECT * FROM " + "(SELECT * FROM " * 3_000 + "flats" + ")" * 3_000, 400),
    Attack("comments that a pattern gets lost in", "read", "/**/" * 10_000 + "1", 400),
    Attack("an open string that it gets lost in", "read", "SELECT e' " + "x" * 10_000, 400),
    Attack("a word that the log gets lost in", "read", "DELETE FROM " + "password" * 10_000, 403, "ACCESS"),
    Attack("comments by MySQL", "read", mysql("/**/" * 10_000 + "1"), 1064),
    Attack("no statement at all", "read", "", 200),
    Attack("a zip of zeros", "read",
           http("POST", "/api/sql/query", data=gzip.compress(b'{"query": "SELECT 1"' + b" " * 50_000_000 + b"}"),
                headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}), (400, 413, 415)),
    Attack("half a character", "read",
           http("POST", "/api/sql/query", data=b'{"query": "SELECT \'\\ud800\'"}',
                headers={"Content-Type": "application/json"}), (400, 422)),
    Attack("bytes that are no text", "read",
           http("POST", "/api/sql/query", data=b'{"query": "\xff\xfe"}', headers={"Content-Type": "application/json"}),
           (400, 422)),
    Attack("a NUL in a statement", "read", "SELECT 1\x00; DELETE FROM flats", (400, 403)),
    Attack("keys that nobody asked for", "read",
           http("POST", "/api/sql/query", json={"query": "SELECT 1", "principal": {"role": 4}}), 422),
    Attack("a list for a statement", "read", http("POST", "/api/sql/query", json={"query": ["SELECT 1"]}), 422),
]  # fmt: skip

SMUGGLING = [
    Attack("length and chunks", "read",
           raw(POST + "Content-Length: LENGTH\nTransfer-Encoding: chunked", b"0\r\n\r\n" + OK_QUERY), 400),
    Attack("two lengths", "read", raw(POST + "Content-Length: LENGTH\nContent-Length: 5", OK_QUERY), 400),
    Attack("a length with a sign", "read", raw(POST + "Content-Length: +21", OK_QUERY), 400),
    Attack("a negative length", "read", raw(POST + "Content-Length: -1", OK_QUERY), 400),
    Attack("chunks that are none", "read", raw(POST + "Transfer-Encoding: chunked", b"zz\r\n" + OK_QUERY), 400),
    Attack("another encoding of the transfer", "read",
           raw(POST + "Transfer-Encoding: chunked, identity", OK_QUERY), 400),
    Attack("a space before the colon", "read", raw(POST + "Content-Length : LENGTH", OK_QUERY), 400),
    Attack("a header over two lines", "read", raw(POST + "X-Folded: a\n b\nContent-Length: LENGTH", OK_QUERY), 400),
    Attack("a line feed alone", "read", raw(POST + "X-A: b\\nX-Api-Key: x\nContent-Length: LENGTH", OK_QUERY), 400),
    Attack("a NUL in a header", "read", raw(POST + "X-A: a\x00b\nContent-Length: LENGTH", OK_QUERY), 400),
    Attack("a very long header", "read",
           raw(POST + "X-A: " + "a" * 300_000 + "\nContent-Length: LENGTH", OK_QUERY), 431),
    Attack("very many headers", "read", raw(POST + "X-A: a\n" * 30_000 + "Content-Length: LENGTH", OK_QUERY), 431),
    Attack("no HTTP at all", None, raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400),
]  # fmt: skip

_LOOPBACK = ["127.0.0.1", "localhost", "localhost.", "[::1]", "0.0.0.0", "0", "127.1", "2130706433", "0x7f000001",
             "0177.0.0.1", "[::ffff:127.0.0.1]", "[::]"]  # fmt: skip
_PRIVATE = [
    "169.254.169.254",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "[fe80::1]",
    "[fd00::1]",
]
LED = [
    *(Attack(f"lead the server to {host}", "write", model_at(f"http://{host}:INSIDE/p"), 403, "ACCESS")
      for host in (*_LOOPBACK, *_PRIVATE)),
    Attack("lead it by a user", "write", model_at("http://example.com@127.0.0.1:INSIDE/p"), 400),
    Attack("lead it by a file URL", "write", model_at("file:///etc/passwd"), 400),
    Attack("lead it by another protocol", "write", model_at("gopher://127.0.0.1:INSIDE/p"), 400),
    Attack("lead it by a registry", "write",
           "CREATE OR REPLACE MODEL led PREDICT y USING engine = 'mlflow', model = 'm/1', tracking_uri = 'http://127.0.0.1:INSIDE'",
           403, "ACCESS"),
    Attack("lead it by an engine", "admin",
           "CREATE ML_ENGINE led FROM hf_api USING base_url = 'http://169.254.169.254/latest/meta-data'",
           403, "ACCESS"),
]  # fmt: skip

MYSQL = [
    Attack("no password", None, mysql("SELECT 1"), 1045),
    Attack("a wrong password", "admin", mysql("SELECT 1", password="msql_x"), 1045),
    Attack("root without a password", None, lambda t, r: t.mysql(None, "SELECT 1", password="root"), 1045),
    Attack("a reader writes by MySQL", "read", mysql("DELETE FROM flats"), 1142),
    Attack("... behind another statement", "read", mysql("SELECT 1; DELETE FROM flats"), 1142),
    Attack("... behind a comment that MySQL runs", "read", mysql("/*!40000 DELETE FROM flats */"), (1064, 1065, 1142)),
    Attack("... behind a backslash", "read", mysql(r"SELECT 'a\'; DELETE FROM flats; -- '"), (0, 1064, 1142)),
    Attack("... in a transaction", "read", mysql("BEGIN", "DELETE FROM flats"), 1142),
    Attack("... in a prepared statement", "read", mysql("PREPARE p FROM 'DELETE FROM flats'"), (1064, 1142)),
    Attack("a reader asks a model by MySQL", "read", mysql("SELECT rent FROM price WHERE sqft = 500"), 1142),
    Attack("load a file of the server", "admin",
           mysql("LOAD DATA INFILE 'FOLDER/secret.csv' INTO TABLE flats"), (1064, 1142, 1235)),
    Attack("load a file of the client", "admin",
           mysql("LOAD DATA LOCAL INFILE 'FOLDER/secret.csv' INTO TABLE flats"), (1064, 1142, 1235)),
    Attack("load_file", "read", mysql("SELECT load_file('FOLDER/secret.csv')"), (1064, 1142, 1305)),
    Attack("select into a file", "admin", mysql("SELECT * FROM flats INTO OUTFILE 'FOLDER/owned'"), (1064, 1142)),
    Attack("the catalog by MySQL", "admin", mysql("SELECT * FROM mindsql._tokens"), 1142),
    Attack("use the catalog by MySQL", "read", mysql("USE `shop.mindsql`"), (1049, 1142)),
    Attack("the users of MySQL", "read", mysql("SELECT * FROM mysql.user"), (1146, 1049)),
    Attack("a setting of all by MySQL", "read", mysql("SET GLOBAL max_connections = 1"), (1142, 1193, 1227)),
    Attack("kill an admin's connection", "write", killed("KILL {}"), 1095),
    Attack("kill an admin's statement", "write", killed("KILL QUERY {}"), 1095),
]  # fmt: skip

REST = [
    Attack("a reader predicts", "read", http("GET", "/models/price?sqft=500"), 403, "ACCESS"),
    Attack("a reader predicts many", "read", http("POST", "/models/price", json=[{"sqft": 500}]), 403, "ACCESS"),
    Attack("who predicts retrains over REST", "predict",
           http("POST", "/models/price?_retrain=1", json=[{"sqft": 1, "rent": 2}]),
           403, "ACCESS"),
    Attack("who predicts appends", "predict",
           http("POST", "/models/price?_action=append", json=[{"sqft": 1, "rent": 2}]),
           403, "ACCESS"),
    Attack("who predicts changes the class", "predict", http("PUT", "/models/price?class=Lasso"), 403, "ACCESS"),
    Attack("who predicts drops over REST", "predict", http("DELETE", "/models/price"), 403, "ACCESS"),
    Attack("who predicts takes the model away", "predict", http("GET", "/models/price?_download"), 403, "ACCESS"),
    Attack("who predicts stops trainings", "predict", http("DELETE", "/jobs/1"), 403, "ACCESS"),
    Attack("no token for a prediction", None, http("GET", "/models/price?sqft=500"), 401, "AUTHENTICATION"),
    Attack("a class by its import path, over REST", "write", http("PUT", "/models/price?class=os.system"), 422),
    Attack("a class by dunders", "write", http("PUT", "/models/price?class=__import__"), 422),
    Attack("a class of another module", "write",
           http("PUT", "/models/price?class=sklearn.utils._testing.MinimalClassifier"), 422),
    Attack("a parameter that is none", "write", http("PUT", "/models/price?class=Lasso&__class__=os.system"), 422),
    Attack("a pickle over REST", "write",
           http("PUT", "/models/k?path=FOLDER/allowed/evil.pkl&trusted=true"), (404, 422, 403)),
    Attack("SQL for a value", "predict", http("GET", "/models/price?sqft=500);DELETE FROM flats;--"), 422),
    Attack("SQL for a column", "predict", http("GET", '/models/price?sqft=1&"; DELETE FROM flats; --=1'), (400, 422)),
    Attack("SQL for a target", "write",
           http("POST", '/models/k?_retrain=1&target_col="; DELETE FROM flats; --', json=[{"a": 1, "b": 2}] * 30),
           (400, 404, 422)),
    Attack("a model of the catalog", "write", http("DELETE", "/models/mindsql._tokens"), 404),
    Attack("a pickle for rows", "predict",
           http("POST", "/models/price", data=pickle.dumps(Evil("owned")),
                headers={"Content-Type": "application/octet-stream"}),
           415),
    Attack("a pickle that says it is parquet", "predict",
           http("POST", "/models/price", data=pickle.dumps(Evil("owned")),
                headers={"Content-Type": "application/vnd.apache.parquet"}), (400, 422)),
    Attack("a workbook of zeros", "predict",
           lambda t, r: t.http(r, "POST", "/models/price", data=workbook_bomb(), headers={
               "Content-Type": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}), (400, 413, 422)),
    Attack("a workbook with entities", "predict",
           lambda t, r: t.http(r, "POST", "/models/price", data=workbook_bomb(entities=True), headers={
               "Content-Type": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}), (400, 413, 422)),
    Attack("rows in a zip of zeros", "predict",
           http("POST", "/models/price", data=gzip.compress(b"[" + b" " * 50_000_000 + b"]"),
                headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}), 415),
    Attack("rows in rows", "predict",
           http("POST", "/models/price", data=b"[" * 200_000, headers={"Content-Type": "application/json"}), 413),
    Attack("a path for a file's name", "predict",
           http("POST", "/models/price", files={"file": ("../../owned.csv", b"sqft\n500);DELETE\n")}), 422),
]  # fmt: skip

ATTACKS = [
    *MYSQL,
    *REST,
    *FILES,
    *CODE,
    *CATALOG,
    *SETTINGS,
    *ROLES,
    *TOKENS,
    *SESSIONS,
    *BODIES,
    *SMUGGLING,
    *LED,
]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("attacks")) as victim:
        yield victim


@pytest.fixture(scope="module")
def before(victim: Target) -> Any:
    return victim.state()


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_is_refused(attack: Attack, victim: Target, before: Any) -> None:
    how = attack.how
    answer = victim.sql(attack.role, how) if isinstance(how, str) else how(victim, attack.role)
    right = attack.status if isinstance(attack.status, tuple) else (attack.status,)
    assert answer.status in right, answer.text[:2000]
    assert attack.code in ("", answer.code), answer.text[:2000]
    assert SECRET not in answer.text and "Traceback" not in answer.text
    assert victim.http(None, "GET", "/health").status == 200


def test_all_is_as_it_was(victim: Target, before: Any) -> None:
    assert victim.state() == before
    assert victim.server.process.poll() is None
    log = (victim.folder / "server.log").read_text()
    assert "Traceback" not in log and SECRET not in log


def test_a_redirect_leads_nowhere_else(tmp_path: Path) -> None:
    """The host that may be asked sends the server to one that may not."""
    options = ("--private-hosts", "--allow-host", "localhost")
    with (
        target(tmp_path, *options) as victim,
        redirecting(f"http://127.0.0.1:{victim.inside.port}/p") as port,
    ):
        made = victim.sql("write", model_at(f"http://localhost:{port}/p"))
        assert made.status == 200, made.text
        answer = victim.sql("write", "SELECT y FROM led WHERE a = 1")
        assert answer.status >= 400 and "307" in answer.text, answer.text
        direct = victim.sql("write", model_at(f"http://127.0.0.1:{victim.inside.port}/p"))
        assert (direct.status, direct.code) == (403, "ACCESS")
        assert victim.inside.hits == 0


def test_secrets_never_leave(victim: Target) -> None:
    secret = "hunter2-hunter2-hunter2"
    model = (
        "CREATE MODEL keeper PREDICT label USING engine = 'hf_api', task = 'text-classification', "
        f"base_url = 'https://example.com', input_column = 'text', api_key = '{secret}'"
    )
    made = victim.sql("write", model)
    assert made.status == 200, made.text
    looks = [
        "DESCRIBE keeper",
        "SELECT * FROM information_schema.models",
        "SELECT * FROM mindsql.models",
        "SHOW MODELS",
        "EXPLAIN SELECT label FROM keeper WHERE text = 'a'",
        "SELECT * FROM information_schema.model_columns",
        f"SELECT {secret.replace('-', '_')} FROM nowhere USING api_key = '{secret}'",
        f"CREATE MODEL keeper PREDICT label USING api_key = '{secret}'",
    ]
    said = [victim.sql("admin", text).text for text in looks]
    keeper = [f"/models/keeper{view}" for view in ("", "?_model", "?_params", "?_opts")]
    said += [
        victim.http("admin", "GET", path).text
        for path in (*keeper, "/models", "/metrics", "/jobs", "/tokens")
    ]
    said += [victim.mysql("admin", text).text for text in ("SHOW PROCESSLIST", "DESCRIBE keeper")]
    assert [text for text in said if secret in text] == []
    assert all(
        secret not in text for each in victim.tokens.values() for text in said for secret in (each, each[22:])
    )
    assert victim.sql("write", "DROP MODEL keeper").status == 200
    for file in ("server.log", "shop.duckdb.audit.jsonl"):
        text = (victim.folder / file).read_text()
        assert secret not in text and all(each not in text for each in victim.tokens.values()), file
    assert secret.encode() not in (victim.folder / "shop.duckdb").read_bytes()


def test_a_head_that_never_ends(victim: Target) -> None:
    """Clients that send a byte now and then do not keep others out, and are shown the door."""
    where = urlsplit(victim.server.url)
    slow = [socket.create_connection((where.hostname, where.port), timeout=60) for _ in range(50)]
    for sock in slow:
        sock.sendall(b"POST /api/sql/query HTTP/1.1\r\nHost: localhost\r\nX-A: ")
    assert victim.sql("read", "SELECT 1").status == 200
    ended = 0
    for sock in slow:
        with contextlib.suppress(OSError):
            while not ended:  # the first one drips until it is told to go
                sock.sendall(b"a")
                sock.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    ended += not sock.recv(100)
        sock.settimeout(60)
        with sock, contextlib.suppress(OSError):
            ended += not sock.recv(100)
    assert ended >= 50
    assert victim.sql("read", "SELECT 1").status == 200
