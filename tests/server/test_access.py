"""What each role may run: a table of statements, and the role that each needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import mindsql
from mindsql.connection import Connection
from mindsql.errors import AccessError, MindSQLError
from mindsql.sandbox import Sandbox
from mindsql.server import access
from mindsql.server.principal import Principal, Role
from mindsql.settings import Settings

NEEDS = r"""
admin     select * from duckdb_databases()
admin     select * from duckdb_settings()
admin     pragma database_list
admin     select current_setting('temp_directory')
admin     select current_setting('temp' || '_directory')
read      select current_setting('TimeZone')
read      from pragma_table_info('t')
nobody    from pragma_table_info('mindsql._tok' || 'ens')
nobody    create table mindsql.foo (x integer)
nobody    create table memory.mindsql.foo as select 1
write     create table foo as select 1 as mindsql
write     create view mindsql.v as select 1
read      select * from t
read      from t
read      (select 1)
read      values (1)
read      with x as (select * from t) select * from x
read      pivot t on a
read      explain (format json) select 1
read      explain analyze select 1
read      prepare p as select 1
read      execute p
read      deallocate p
read      begin
read      set TimeZone = 'UTC'
read      set variable x = 1
read      reset timezone
read      use mindsql
read      use main
read      pragma table_info('t')
read      call pragma_version()
read      show models
read      show tables
read      describe t
read      describe m
read      summarize t
read      select * from duckdb_tables()
read      select * from information_schema.models
read      select * from mindsql.models
read      select "update", 'insert' from t
read      select 1; select 2
read      select * from read_csv('FOLDER/x.csv')
read      select * from read_csv(['FOLDER/x.csv', 'FOLDER/x.csv'], header = true)
predict   evaluate m from (select * from t)
write     insert into t values (1, 2)
write     update t set a = 1
write     delete from t
write     truncate t
write     merge into t using t u on false when not matched then insert values (1, 2)
write     with x as (insert into t values (1, 2) returning *) select * from x
write     with x as (with y as (select 1) insert into t select *, 2 from y returning *) select * from x
write     with x as (insert into t values (1, 2) returning *) select * from x join m
write     with x as not materialized (truncate t) select 1
read      with recursive x(a) as (select 1 union all select a + 1 from x where a < 3) from x
read      select (1) update, '"type":"COPY_QUERY_NODE"' from t
read      select * from (pivot t on a)
write     explain analyze insert into t values (1, 2)
write     explain (format json) delete from t
write     prepare p as insert into t values (1, 2)
write     set variable x = (with q as (delete from t returning a) select * from q)
write     create table x as pivot t on a
write     select nextval('s')
write     select 1; drop table t
write     create view v as select * from t join m
write     create macro f(x) as x + 1
write     create table secret as select 1
write     copy t from 'FOLDER/x.csv' (format csv)
write     vacuum
write     create model k from (select * from t) predict y
write     retrain m
write     drop model m
write     set active m.1
admin     checkpoint
admin     force checkpoint
admin     create ml_engine e from ray_serve using url.predict = 'http://x'
admin     create database d with engine = 'duckdb', parameters = {'path': 'x'}
admin     drop database d
admin     drop ml_engine e
admin     create model k from (select * from t) predict y using api_key = env('HOME')
nobody    attach 'x' as y
nobody    detach x
nobody    install httpfs
nobody    load httpfs
nobody    update extensions
nobody    export database 'x'
nobody    import database 'x'
nobody    copy from database a to b
nobody    copy t to 'FOLDER/x'
nobody    copy (select * from m where a = 1) to 'FOLDER/x'
nobody    prepare p as copy t to 'x'
nobody    with x as (copy t to 'FOLDER/x') select 1
nobody    with x as (with y as (copy t to 'FOLDER/x') select 1) select 1
nobody    create table k as with x as materialized (copy t to 'FOLDER/x') select 1 as a
nobody    insert into t with x as (copy t to 'FOLDER/x') select 1, 2
nobody    explain analyze with x as (copy t to 'FOLDER/x') select 1
nobody    prepare p as with x as (copy t to 'FOLDER/x') select 1
nobody    with x as (copy t to 'FOLDER/x') pivot t on a
nobody    set variable x = (with q as (copy t to 'FOLDER/x') select 1)
nobody    create view v as with x as (copy t to 'FOLDER/x') select 1 as a
nobody    create macro f() as table with x as (copy t to 'FOLDER/x') select 1 as a
nobody    call range((with x as (copy t to 'FOLDER/x') select 1))
write     insert into t (copy, y) values (1, 2)
nobody    explain copy t to 'x'
nobody    copy t from 'OUTSIDE/shop.duckdb'
nobody    copy t from 'FOLDER/../shop.duckdb'
nobody    set threads = 1
nobody    set global timezone = 'UTC'
nobody    set search_path = 'mindsql'
nobody    set schema = 'mindsql'
nobody    pragma threads = 3
nobody    pragma storage_info('t')
nobody    use shop.mindsql
nobody    use "shop.mindsql"
nobody    create secret x (type http)
nobody    create or replace persistent secret x (type http)
nobody    drop secret x
nobody    drop schema mindsql cascade
nobody    alter database shop set alias to x
nobody    select * from mindsql._tokens
nobody    select * from mindsql /* x */ . "_ToKeNs"
nobody    select * from e'\x5ftokens'
nobody    select * from t join m where t.a in (select * from e'\x5ftokens')
nobody    select * from shop.mindsql._artifacts
nobody    create model k from (select * from mindsql._artifacts) predict y
nobody    create view v as select * from mindsql._engines
nobody    alter table t rename to _tokens
nobody    create trigger r after insert on t referencing new table as n for each statement delete from mindsql._tokens
nobody    select * from query('select 1')
nobody    select * from "query" /* x */ ('select 1')
nobody    select * from query_table('t')
nobody    create macro f(x) as table select * from query(x)
nobody    select * from json_execute_serialized_sql(json_serialize_sql('select 1'))
nobody    select json_serialize_plan('select 1')
nobody    select * from duckdb_secrets()
nobody    select * from duckdb_logs()
nobody    select * from arrow_scan(1, 2, 3)
nobody    select 'x'.write_log()
nobody    select finalize(1)
nobody    select __internal_decompress_string(1)
nobody    select * from read_blob('OUTSIDE/shop.duckdb')
nobody    select * from t join m on m.a = (select max(size) from read_blob('OUTSIDE/shop.duckdb'))
nobody    select * from read_csv('FOLDER/' || '../shop.duckdb')
nobody    select * from read_csv(['FOLDER/x.csv', '/etc/passwd'])
nobody    select * from read_csv(e'/etc/passwd')
"""


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    base = tmp_path_factory.mktemp("access")
    (base / "folder").mkdir()
    (base / "folder" / "x.csv").write_text("a,y\n1,2\n")
    sandbox = Sandbox((str(base / "folder"),))
    settings = Settings(trusted=False, replacements=False)
    with mindsql.connect(str(base / "shop.duckdb"), settings=settings, sandbox=sandbox) as connection:
        connection.execute("CREATE TABLE t AS SELECT i AS a, i * 2.0::DOUBLE AS y FROM range(50) r(i)")
        connection.execute("CREATE SEQUENCE s")
        connection.execute("CREATE MODEL m FROM (SELECT * FROM t) PREDICT y")
        yield connection


def needed(connection: Connection, text: str) -> str:
    """The lowest role that a statement passes with."""
    for role in Role:
        try:
            access.check(connection, text, Principal("someone", role))
        except AccessError:
            continue
        return role.name.lower()
    return "nobody"


@pytest.mark.parametrize("line", NEEDS.strip().splitlines())
def test_what_a_statement_needs(connection: Connection, line: str) -> None:
    role, text = line.split(maxsplit=1)
    base = Path(
        connection.execute("SELECT path FROM duckdb_databases() WHERE NOT internal").fetchall()[0][0]
    ).parent
    text = text.replace("FOLDER", str(base / "folder")).replace("OUTSIDE", str(base))
    assert needed(connection, text) == role


def test_what_nobody_can_read_fails_with_its_own_error(connection: Connection) -> None:
    for text in (
        "selct 1",
        "select * from (",
        "create modle x",
        "'",
        "with x as (copy t to 'x') select m.y from t join m",  # neither DuckDB's nor ours
    ):
        access.check(connection, text, Principal("someone", Role.READ))
        with pytest.raises(MindSQLError):
            connection.execute(text)


def test_a_path_with_a_nul_is_none(connection: Connection) -> None:
    with pytest.raises(AccessError):
        access.check(connection, "SELECT * FROM read_csv('a\0b')", Principal("someone", Role.ADMIN))


def test_a_reader_cannot_ask_models_by_any_way(connection: Connection) -> None:
    connection.execute("CREATE VIEW asked AS SELECT t.a, m.y FROM t JOIN m")
    reader = connection.cursor()
    access.enter(reader, Principal("reader", Role.READ))
    for text in (
        "SELECT * FROM m WHERE a = 1",
        "SELECT y FROM m WHERE a = 2",
        "SELECT m.y FROM t JOIN m",
        "SELECT * FROM asked",
        "SELECT count(*) FROM (SELECT * FROM mindsql.m WHERE a = 1)",
        "EXPLAIN ANALYZE SELECT * FROM m WHERE a = 1",
        "WITH x AS (SELECT y FROM m WHERE a = 1) SELECT * FROM x",
    ):
        connection.execute(text).fetchall()  # another's plan is no way either
        with pytest.raises(AccessError):
            reader.execute(text).fetchall()
    assert reader.execute("SELECT count(*) FROM t").fetchone() == (50,)
    access.enter(reader, Principal("other", Role.PREDICT))
    assert len(reader.execute("SELECT m.y FROM t JOIN m").fetchall()) == 50
    access.enter(reader, Principal("reader", Role.READ))
    with pytest.raises(AccessError):
        reader.execute("SELECT m.y FROM t JOIN m")
    reader.close()
    connection.execute("DROP VIEW asked")


def test_the_sandbox_is_duckdbs_own(tmp_path: Path) -> None:
    """Without any check of ours."""
    (tmp_path / "x.csv").write_text("a\n1\n")
    with mindsql.connect(
        str(tmp_path / "shop.duckdb"), sandbox=Sandbox(memory="200MB", threads=1)
    ) as connection:
        for text in (
            f"SELECT * FROM read_csv('{tmp_path}/x.csv')",
            f"FROM '{tmp_path}/x.csv'",
            f"COPY (SELECT 1) TO '{tmp_path}/y.csv'",
            f"ATTACH '{tmp_path}/other.duckdb' AS other",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SET memory_limit = '100GB'",
            "SET allowed_configs = ['threads']",
            "RESET lock_configuration",
            "PRAGMA enable_profiling",
        ):
            with pytest.raises(MindSQLError):
                connection.execute(text)
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        other = connection.cursor()
        assert other.execute("SELECT current_setting('threads')").fetchone() == (1,)
        other.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop.duckdb", "x.csv"]
