"""The MySQL door, as MySQL's own drivers see it: one real server, pymysql, MySQL's connector."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import mysql.connector
import pymysql
import pytest
from pymysql.constants import CLIENT

from tests.server.conftest import Served

HOST = "127.0.0.1"
LONG = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"


def connect(served: Served, **more: Any) -> pymysql.connections.Connection[Any]:
    """pymysql, in autocommit unless it is told otherwise."""
    return pymysql.connect(
        host=HOST, port=served.mysql_port, user="ann", **{"autocommit": True, "charset": "utf8mb4", **more}
    )


class Client:
    """Statements and their rows."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def __call__(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(self.connection.cursor()) as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def number(self, sql: str) -> int:
        """The number of the error that a statement gives."""
        with pytest.raises(pymysql.MySQLError) as caught:
            self(sql)
        return int(caught.value.args[0])


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """A fresh connection."""
    with contextlib.closing(connect(served)) as connection:
        yield Client(connection)


# Statements of our own -----------------------------------------------------------------------------------


def test_models_are_tables(client: Client, served: Served) -> None:
    (row,) = client("SELECT rent FROM rent WHERE sqft = 500 AND place = 'good'")
    assert [row] == served.rows("SELECT rent FROM rent WHERE sqft = 500 AND place = 'good'")
    assert client("SELECT `rent` FROM `rent` WHERE `sqft` = %s AND place = %s", 500, "good") == [row]
    joined = "SELECT avg(m.rent - f.rent) FROM flats f JOIN rent m"
    assert client(joined) == served.rows(joined)
    client("CREATE MODEL twice FROM (SELECT sqft, rent FROM flats) PREDICT rent USING estimator = 'Ridge'")
    client("RETRAIN twice")
    assert client("SELECT version FROM information_schema.models WHERE name = 'twice' AND active") == [(2,)]
    assert [row[0] for row in client("SHOW MODELS WHERE name = 'twice'")] == ["twice", "twice"]
    assert dict(client("DESCRIBE twice"))["target"] == "rent"
    assert "plan" in dict(client("EXPLAIN SELECT count(*) FROM flats JOIN twice"))
    assert "r2" in dict(client("EVALUATE twice FROM (SELECT * FROM flats)"))
    client("DROP MODEL twice")


# Types ---------------------------------------------------------------------------------------------------

# expression, value over the text protocol, and over the binary one if that differs
TYPES: list[tuple[Any, ...]] = [
    ("true", 1),
    ("-7::TINYINT", -7),
    ("-30000::SMALLINT", -30000),
    ("-2000000000::INTEGER", -2000000000),
    ("-9000000000000000000::BIGINT", -9000000000000000000),
    ("200::UTINYINT", 200),
    ("60000::USMALLINT", 60000),
    ("4000000000::UINTEGER", 4000000000),
    ("18000000000000000000::UBIGINT", 18000000000000000000),
    ("123456789012345678901234567890::HUGEINT", Decimal("123456789012345678901234567890")),
    ("0.1::FLOAT", 0.1, 0.10000000149011612),
    ("1e300::DOUBLE", 1e300),
    ("1.50::DECIMAL(10,2)", Decimal("1.50")),
    ("DATE '2020-02-03'", dt.date(2020, 2, 3)),
    ("TIME '10:11:12.5'", dt.timedelta(hours=10, minutes=11, seconds=12.5)),
    ("TIMESTAMP '2020-01-02 03:04:05.678'", dt.datetime(2020, 1, 2, 3, 4, 5, 678000)),
    ("TIMESTAMP '2020-01-02 00:00:00'", dt.datetime(2020, 1, 2)),
    ("TIMESTAMPTZ '2020-01-01 00:00:00+01'", dt.datetime(2019, 12, 31, 23)),
    ("'größer 🙂'", "größer 🙂"),
    ("'\\xAB\\x00'::BLOB", b"\xab\x00"),
    ("UUID '7f4b94e5-9b2a-4444-8b05-f3e0a3b28a00'", "7f4b94e5-9b2a-4444-8b05-f3e0a3b28a00"),
    ("[1, NULL]", "[1, null]"),
    ("{'a': 1, 'b': DATE '2020-01-01'}", '{"a": 1, "b": "2020-01-01"}'),
    ("MAP {'k': [1.5]}", '{"k": [1.5]}'),
    ("'{\"x\":1}'::JSON", '{"x":1}'),
    ("INTERVAL '14 months 2 days 3 seconds'", "1 year 2 months 2 days 00:00:03"),
    ("'y'::ENUM('x', 'y')", "y"),
    ("'101'::BIT", "101"),
    ("repeat('x', 70000)", "x" * 70000),
    ("NULL", None),
]


@pytest.mark.parametrize("prepared", [False, True], ids=["text", "binary"])
def test_types(served: Served, prepared: bool) -> None:
    sql = f"SELECT {', '.join(case[0] for case in TYPES)}"
    options: dict[str, Any] = {"host": HOST, "port": served.mysql_port, "user": "ann", "use_pure": True}
    with mysql.connector.connect(**options) as connection, connection.cursor(prepared=prepared) as cursor:
        cursor.execute(sql)
        assert list(cursor.fetchone() or ()) == [case[-1] if prepared else case[1] for case in TYPES]


def test_each_type_is_told_alone(client: Client) -> None:
    """Arrow hands out a row with an INTERVAL, DuckDB the others: both must give the same."""
    for expression, value, *_ in TYPES:
        assert client(f"SELECT {expression}") == [(value,)]
    assert math.isnan(client("SELECT 'nan'::DOUBLE")[0][0])


def test_many_rows_stream(client: Client) -> None:
    rows = client("SELECT range, CASE WHEN range % 3 > 0 THEN 'x' || range END FROM range(20000)")
    assert rows == [(i, f"x{i}" if i % 3 else None) for i in range(20000)]
    assert client("SELECT 1 WHERE false") == []


# Parameters ----------------------------------------------------------------------------------------------

VALUES = (
    1,
    -(2**62),
    2.5,
    'it\'s \\ "q" é',
    b"\x00\xff'\\",
    None,
    dt.date(2020, 1, 2),
    dt.datetime(2020, 1, 2, 3, 4, 5, 600),
    Decimal("12.34"),
    dt.timedelta(hours=3, minutes=5),
)


def test_parameters_of_prepared_statements(served: Served) -> None:
    options: dict[str, Any] = {"host": HOST, "port": served.mysql_port, "user": "ann", "use_pure": True}
    with mysql.connector.connect(**options) as connection, connection.cursor(prepared=True) as cursor:
        sql = f"SELECT {', '.join('?' * len(VALUES))}, '?'  -- ?"
        for _ in range(2):  # the second time without types
            cursor.execute(sql, VALUES)
            assert cursor.fetchall() == [(*VALUES, "?")]
        cursor.execute("SELECT rent FROM rent WHERE sqft = ? AND place = ?", (500, "x' OR 1=1 --"))
        assert len(cursor.fetchall()) == 1
        cursor.execute("SELECT range FROM range(9) LIMIT ?, ?", (3, 2))
        assert cursor.fetchall() == [(3,), (4,)]


@pytest.mark.parametrize("text", ["\\' OR 1=1 -- ", "'", "\\", "\\\\'", "a\nb\x00c", "%s ? $1", '{"a": \'"}'])
def test_what_drivers_write_into_the_text(served: Served, client: Client, text: str) -> None:
    assert client("SELECT %s", text) == [(text,)]
    assert client("SELECT %s", text.encode() + b"\xfe") == [(text.encode() + b"\xfe",)]
    options: dict[str, Any] = {"host": HOST, "port": served.mysql_port, "user": "ann", "use_pure": True}
    with mysql.connector.connect(**options) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT %s", (text,))
        assert cursor.fetchall() == [(text,)]


def test_backslashes_escape_when_the_mode_says_so(client: Client) -> None:
    assert client(r"SELECT 'a\nb'") == [(r"a\nb",)]
    client("SET sql_mode = 'ANSI_QUOTES'")
    assert client(r"SELECT 'a\nb', 'it\'s', '\\'") == [("a\nb", "it's", "\\")]
    assert client("SELECT %s", "\\' OR 1=1 --") == [("\\' OR 1=1 --",)]


# Errors --------------------------------------------------------------------------------------------------


def test_errors_have_mysqls_numbers(client: Client) -> None:
    client("CREATE OR REPLACE TABLE keyed (a INT PRIMARY KEY, b INT NOT NULL)")
    client("INSERT INTO keyed VALUES (1, 1)")
    expected = {
        "SELEC 1": 1064,
        "CREATE MODEL": 1064,
        "SELECT 1; SELECT 2": 1064,
        "": 1065,
        "SELECT * FROM nowhere": 1146,
        "SHOW COLUMNS FROM nowhere": 1146,
        "SELECT nothing FROM flats": 1054,
        "SELECT nothing(1)": 1305,
        "INSERT INTO keyed VALUES (1, 2)": 1062,
        "INSERT INTO keyed VALUES (2, NULL)": 1048,
        "SELECT 'x'::INT": 1292,
        "SELECT 300::TINYINT": 1264,
        "CREATE TABLE keyed (a INT)": 1050,
        "USE nowhere": 1049,
        "SET autocommit = 7": 1231,
        "SET NAMES klingon": 1115,
        "SELECT @@nothing": 1193,
        "KILL 999999": 1094,
        "SELECT * FROM read_csv('/etc/passwd')": 1142,
    }
    assert {sql: client.number(sql) for sql in expected} == expected
    assert client("SELECT 1") == [(1,)]


def test_an_error_says_what_where_and_what_to_do(client: Client) -> None:
    with pytest.raises(pymysql.err.OperationalError) as caught:
        client("SELECT rnet FROM flats")
    number, message = caught.value.args
    assert number == 1054
    assert 'column "rnet"' in message and "line 1, column 8" in message and "hint: " in message
    assert "\x1b" not in message
    assert client("SHOW WARNINGS") == [("Error", 1054, message.split("\n")[0])]


# Transactions --------------------------------------------------------------------------------------------


def test_without_autocommit_a_write_waits_for_its_commit(served: Served, client: Client) -> None:
    client("CREATE OR REPLACE TABLE ledger (a INT)")
    with contextlib.closing(connect(served, autocommit=False)) as other:
        ask = Client(other)
        ask("INSERT INTO ledger VALUES (1)")
        assert client("SELECT count(*) FROM ledger") == [(0,)]
        other.rollback()
        assert ask("SELECT count(*) FROM ledger") == [(0,)]
        ask("INSERT INTO ledger VALUES (2)")
        other.commit()
        assert client("SELECT a FROM ledger") == [(2,)]
        assert ask("SELECT @@autocommit, @@session.autocommit") == [(0, 0)]
        # Reading alone holds on to nothing.
        client("INSERT INTO ledger VALUES (3)")
        assert ask("SELECT count(*) FROM ledger") == [(2,)]
        ask("DELETE FROM ledger")
    assert client("SELECT count(*) FROM ledger") == [(2,)]  # closed without a COMMIT


def test_a_commit_after_an_error_says_that_nothing_was_committed(served: Served, client: Client) -> None:
    client("CREATE OR REPLACE TABLE ledger (a INT PRIMARY KEY)")
    with contextlib.closing(connect(served, autocommit=False)) as other:
        ask = Client(other)
        ask("INSERT INTO ledger VALUES (1)")
        with pytest.raises(pymysql.IntegrityError):
            ask("INSERT INTO ledger VALUES (1)")
        with pytest.raises(pymysql.MySQLError, match="nothing was committed"):
            other.commit()
        ask("INSERT INTO ledger VALUES (2)")
        other.commit()
    assert client("SELECT a FROM ledger") == [(2,)]


def test_begin_and_its_end(client: Client) -> None:
    client("CREATE OR REPLACE TABLE ledger (a INT)")
    for begin in (
        "BEGIN",
        "START TRANSACTION",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "/* x */ begin work",
    ):
        client(begin)
        client("INSERT INTO ledger VALUES (1)")
        client("CREATE MODEL undone FROM (SELECT * FROM flats) PREDICT rent USING estimator = 'Ridge'")
        client("ROLLBACK")
    assert client("SELECT count(*) FROM ledger") == [(0,)]
    assert client("SHOW MODELS WHERE name = 'undone'") == []
    client("COMMIT")  # nothing is open: MySQL does not mind
    assert client.number("ROLLBACK TO SAVEPOINT x") == 1235
    client("START TRANSACTION READ ONLY")
    with pytest.raises(pymysql.MySQLError, match="read-only"):
        client("INSERT INTO ledger VALUES (1)")
    client("ROLLBACK")


# What clients ask of any server --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM rent LIMIT 200", "SELECT p.sqft, p.rent FROM rent p LIMIT 10 OFFSET 20",
        "SELECT `r`.* FROM `mindsql`.`rent` AS `r` LIMIT 0, 1000", "SELECT * FROM (SELECT * FROM rent) AS q LIMIT 0",
    ],
)
def test_the_preview_of_a_model_has_its_columns_and_no_row(client: Client, text: str) -> None:
    with client.connection.cursor() as cursor:
        assert cursor.execute(f"/* ApplicationName=Tool */ {text}") == 0
        assert {column[0] for column in cursor.description} >= {"sqft", "rent"}
    ((level, _, message),) = client("SHOW WARNINGS")
    assert level == "Note" and "a model has no rows of its own" in message
    assert client("SELECT sqft FROM flats ORDER BY sqft LIMIT 1")  # a table's is its first rows


def test_variables_and_functions(client: Client) -> None:
    ((version, name, user, number),) = client("SELECT @@version, database(), USER(), connection_id()")
    assert version.startswith("8.") and (name, user) == ("shop", "ann@%")
    assert number == client.connection.thread_id()
    assert client("SELECT count(*) + length(database()) DIV 2 FROM flats WHERE @@autocommit") == [(302,)]
    assert client("SELECT concat(schema(), '.', 'database()') AS x, '@@version'") == [
        ("shop.database()", "@@version")
    ]
    with client.connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet, DATABASE(), @@sql_mode AS mode LIMIT 1")
        assert [column[0] for column in cursor.description] == ["@@max_allowed_packet", "DATABASE()", "mode"]
    assert dict(client("SHOW VARIABLES LIKE 'character\\_set\\_c%'")) == {
        "character_set_client": "utf8mb4",
        "character_set_connection": "utf8mb4",
    }
    assert client("SHOW SESSION VARIABLES WHERE Variable_name = 'autocommit'") == [("autocommit", "ON")]


def test_set(client: Client) -> None:
    client("SET NAMES utf8mb4 COLLATE utf8mb4_general_ci; ")
    client("/*!40101 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0, time_zone='+02:00' */;")
    assert client("SELECT @@sql_notes, @@time_zone, TIMESTAMPTZ '2020-01-01 00:00:00+00'") == [
        (0, "+02:00", dt.datetime(2020, 1, 1, 2))
    ]
    client("SET SQL_NOTES = @OLD_SQL_NOTES")
    assert client("SELECT @@sql_notes") == [(1,)]
    client("SET @a = 2, @b = 'x'")
    client("SET @A = @a + 1")
    assert client("SELECT @a, @b || 'y', @c FROM (SELECT -5 AS c) AS s WHERE [1] <@[1, @a]") == [(3, "xy", 5)]
    client("SET SESSION foreign_key_checks = OFF")
    assert client("SHOW WARNINGS") == [
        ("Warning", 1235, '"foreign_key_checks" is kept and told, but changes nothing here')
    ]
    client("SET sql_select_limit = 3")
    assert len(client("SELECT * FROM flats")) == 3
    client("SET sql_select_limit = DEFAULT")
    assert len(client("SELECT * FROM flats")) == 300
    client("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    assert client("SELECT @@transaction_isolation") == [("REPEATABLE-READ",)]
    assert client.number("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE") == 1231
    assert client.number("SET GLOBAL autocommit = 0") == 1227


def test_show(client: Client) -> None:
    assert {("shop",), ("mindsql",), ("information_schema",)} <= set(client("SHOW DATABASES"))
    assert client("SHOW DATABASES LIKE 'sh%'") == [("shop",)]
    assert ("flats", "BASE TABLE") in client("SHOW FULL TABLES")
    assert ("rent", "MODEL") in client("SHOW FULL TABLES FROM `mindsql`")
    assert client("SHOW TABLES LIKE 'flat_'") == [("flats",)]
    columns = [("sqft", "bigint", "YES", "", None, ""), ("place", "text", "YES", "", None, ""),
               ("rent", "double", "YES", "", None, "")]  # fmt: skip
    for question in ("SHOW COLUMNS FROM flats", "DESCRIBE flats", "DESC `shop`.`flats`", "EXPLAIN flats",
                     "SHOW FIELDS IN flats IN shop"):  # fmt: skip
        assert client(question) == columns
    assert [row[0] for row in client("SHOW FULL COLUMNS FROM `rent` FROM `mindsql` LIKE 'p%'")] == ["place"]
    assert client("SHOW PROCESSLIST")[-1][1] == "ann"
    assert client("SHOW ENGINES")[0][0] == "DuckDB"
    for question in ("SHOW STATUS", "SHOW COLLATION", "SHOW CHARACTER SET", "SHOW TABLE STATUS", "SHOW GRANTS",
                     "SHOW PLUGINS", "SHOW TRIGGERS", "SHOW FUNCTION STATUS", "SHOW INDEX FROM flats"):  # fmt: skip
        client(question)


def test_use(client: Client) -> None:
    client("CREATE SCHEMA IF NOT EXISTS annex")
    client("CREATE OR REPLACE TABLE annex.inside (a INT)")
    client("USE annex")
    assert client("SELECT database()") == [("annex",)]
    assert client("SHOW TABLES") == [("inside",)]
    client.connection.select_db("mindsql")
    assert ("rent",) in client("SHOW TABLES")
    assert client("DESCRIBE flats")[0][0] == "sqft"
    with pytest.raises(pymysql.MySQLError) as caught:
        client.connection.select_db("nowhere")
    assert caught.value.args[0] == 1049


def test_a_database_at_login(served: Served) -> None:
    with contextlib.closing(connect(served, database="mindsdb")) as connection:
        assert Client(connection)("SELECT database()") == [("mindsdb",)]
    with pytest.raises(pymysql.MySQLError) as caught:
        connect(served, database="nowhere")
    assert caught.value.args[0] == 1049


def test_information_schema(client: Client) -> None:
    tables = (
        "SELECT t.TABLE_NAME, COUNT(*) FROM INFORMATION_SCHEMA.TABLES t JOIN `information_schema`.`columns` AS c "
        "USING (table_schema, table_name) WHERE t.table_schema = DATABASE() AND table_name = 'flats' GROUP BY 1"
    )
    assert client(tables) == [("flats", 3)]
    assert client(
        "SELECT information_schema.columns.column_type FROM information_schema.columns "
        "WHERE information_schema.columns.table_name = 'rent' AND column_name = 'sqft'"
    ) == [("bigint",)]
    assert ("shop",) in client("SELECT schema_name FROM information_schema.schemata ORDER BY 1")
    assert client("SELECT name FROM information_schema.models WHERE name = 'rent'") == [("rent",)]
    assert client("SELECT routine_name FROM information_schema.routines") == []


def test_what_mysql_writes_otherwise(client: Client) -> None:
    assert client("SELECT range FROM range(9) LIMIT 2, 3") == [(2,), (3,), (4,)]
    assert len(client("SELECT range FROM range(9) LIMIT 5,18446744073709551615")) == 4
    assert client("SELECT 1 FROM DUAL") == [(1,)]
    assert client("SELECT /*! 1 + */ 1 /* not this: ' */ # nor this: '") == [(2,)]
    assert client("SELECT 'LIMIT 1, 2 -- # /*! x */', `sqft` FROM `flats` LIMIT 1") == [
        ("LIMIT 1, 2 -- # /*! x */", 300)
    ]


def test_several_statements(served: Served) -> None:
    with (
        contextlib.closing(connect(served, client_flag=CLIENT.MULTI_STATEMENTS)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1; CREATE OR REPLACE TABLE multi AS SELECT 1 AS a; SELECT ';' FROM multi; ")
        assert cursor.fetchall() == ((1,),)
        assert cursor.nextset() and cursor.description is None
        assert cursor.nextset() and cursor.fetchall() == ((";",),)
        assert not cursor.nextset()
        cursor.execute("SELECT 1; SELECT broken; SELECT 3")
        assert cursor.fetchall() == ((1,),)
        with pytest.raises(pymysql.MySQLError):
            cursor.nextset()
        cursor.execute("SELECT 4")
        assert cursor.fetchall() == ((4,),)


def test_character_sets(served: Served, client: Client) -> None:
    with contextlib.closing(connect(served, charset="latin1")) as connection:
        ask = Client(connection)
        assert ask("SELECT 'größe', length('größe'), '€'") == [("größe", 5, "€")]
        assert ask("SELECT chr(9731)") == [("?",)]


# Stopping ------------------------------------------------------------------------------------------------


def wait_until(true: Any) -> None:
    """Wait for what another thread or process does."""
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def running(client: Client) -> list[int]:
    """The connections that run the long statement."""
    return [row[0] for row in client("SHOW PROCESSLIST") if row[7] == LONG]


@pytest.mark.parametrize("how", ["KILL QUERY {}", "KILL {}", "process_kill"])
def test_kill_ends_what_runs(served: Served, client: Client, how: str) -> None:
    victim = connect(served)
    errors: list[int] = []

    def run() -> None:
        errors.append(Client(victim).number(LONG))

    thread = threading.Thread(target=run)
    thread.start()
    number = victim.thread_id()
    wait_until(lambda: running(client))
    if how == "process_kill":
        client.connection.kill(number)
    else:
        client(how.format(number))
    thread.join(30)
    assert errors == [1317]
    if how == "KILL QUERY {}":
        client(how.format(number))  # nothing runs: nothing is lost
        assert Client(victim)("SELECT 1") == [(1,)]
    else:
        with pytest.raises(pymysql.MySQLError):
            Client(victim)("SELECT 1")
        wait_until(lambda: number not in [row[0] for row in client("SHOW PROCESSLIST")])
    with contextlib.suppress(pymysql.MySQLError):
        victim.close()


def test_a_client_that_goes_away_leaves_nothing(served: Served, client: Client) -> None:
    gone = connect(served)
    gone._execute_command(3, LONG)  # COM_QUERY, and nobody waits for the answer
    wait_until(lambda: running(client))
    gone._force_close()
    wait_until(lambda: not running(client))
    assert "mindsql_running 1.0" not in served.request("GET", "/metrics").text


def test_a_connection_can_be_used_anew(served: Served) -> None:
    options: dict[str, Any] = {"host": HOST, "port": served.mysql_port, "user": "ann", "use_pure": True}
    with mysql.connector.connect(**options) as connection:
        ask = Client(connection)
        ask("CREATE OR REPLACE TABLE anew (a INT)")
        ask("SET autocommit = 0, time_zone = '+02:00'")
        ask("INSERT INTO anew VALUES (1)")
        connection.cmd_reset_connection()
        assert ask("SELECT count(*), @@time_zone FROM anew") == [(0, "+00:00")]
        connection.cmd_change_user("ben", "", "mindsql")
        assert ask("SELECT user(), database()") == [("ben@%", "mindsql")]
        connection.ping()
        assert "Threads" in str(connection.cmd_statistics())
