"""Owns what MySQL clients ask of any server, in MySQL's words: SHOW, DESCRIBE of tables, `@@variables`, functions.

Each question becomes one SELECT, over `information_schema` or over values that are known here; it then goes the way
of every other statement. What is not recognised is MindSQL's own, and passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import NamedTuple, Protocol

from mindsql.database import literal, quote
from mindsql.server.mysql import information_schema
from mindsql.server.mysql.errors import MySQLError
from mindsql.server.mysql.functions import in_duckdb
from mindsql.server.mysql.lexer import Token, replaced, tokens
from mindsql.server.mysql.variables import VERSION, Value, Variables
from mindsql.system import values

_NAME = r'(?:`(?:[^`]|``)+`|"(?:[^"]|"")+"|[\w$]+)'
_OF = r"(?:FROM|IN)"
_TAIL = r"(?:\s+(?:LIKE\s+(?P<like>'(?:[^']|'')*'|\?)|WHERE\s+(?P<where>.+)))?"
_INTERESTING = re.compile(
    r"@\S|\b(?:database|schema|user|current_user|session_user|system_user|connection_id|version|last_insert_id"
    r"|row_count|found_rows)\s*\(|\binformation_schema\b",
    re.I,
)

_LIMIT = re.compile(r"\bLIMIT\b", re.I)
# Possessive (`++`): a text of many blanks would else be cut in each of the many ways there are.
_PREVIEW = re.compile(
    rf"(?P<asked>SELECT\s++(?:(?!\sFROM\b|\bSELECT\b|[('\-/]).)++\sFROM\s++(?:(?P<database>{_NAME})\s*+\.\s*+)?"
    rf"(?P<name>{_NAME})(?:\s++(?:AS\s++)?(?!LIMIT\b|OFFSET\b){_NAME})?)"
    rf"(?:\s++OFFSET\s++\d++)?\s++LIMIT\s++\d++(?:\s++OFFSET\s++\d++)?\s*+;?\s*+",
    re.I | re.S,
)


_WRAPPED = re.compile(
    rf"(?P<front>SELECT\s++(?:(?!\sFROM\b|\bSELECT\b|[('\-/]).)++\sFROM\s*+)"
    rf"\((?P<inside>[^()]++)\)\s*+(?P<end>(?:AS\s++)?{_NAME}\s++LIMIT\s++\d++\s*+;?\s*+)",
    re.I | re.S,
)
"""A preview of a preview, as tools write it that take any statement for a table."""


class Relation(NamedTuple):
    """Something that stands in FROM: its database, its name, and whether it is a BASE TABLE, VIEW or MODEL."""

    database: str
    name: str
    kind: str

    @property
    def columns(self) -> str:
        """The query for the columns of relations like this one."""
        return (
            information_schema.TABLES["columns"] if self.kind == "MODEL" else information_schema.PLAIN_COLUMNS
        )

    @property
    def condition(self) -> str:
        """What a row about it in `information_schema` fulfils."""
        return f'"TABLE_SCHEMA" = {literal(self.database)} AND "TABLE_NAME" = {literal(self.name)}'


class Client(Protocol):
    """What is known of the client that asks."""

    variables: Variables
    warnings: list[tuple[str, int, str]]

    @property
    def id(self) -> int:
        """The connection's number."""

    @property
    def user(self) -> str:
        """As whom the client logged in."""

    @property
    def database(self) -> str:
        """The current database, as MySQL understands the word."""

    @property
    def affected(self) -> int:
        """The rows that the last statement changed."""

    def processes(self) -> list[tuple[int, str, str, str, str, int, str, str | None]]:
        """The open connections: id, user, host, database, command, seconds, state, statement."""

    def has_model(self, name: str) -> bool:
        """Whether a model of any project has that name."""

    def relation(self, database: str | None, name: str) -> Relation | None:
        """A table, view or model, of the current database if none is named."""


def rewritten(text: str, client: Client) -> str:
    """A statement with MySQL's variables, functions and `information_schema` in it replaced by what they mean."""
    text = in_duckdb(text)
    if _INTERESTING.search(text) is None:
        return text
    functions: dict[str, Callable[[], Value]] = {
        "database": lambda: client.database,
        "schema": lambda: client.database,
        "user": lambda: f"{client.user}@%",
        "current_user": lambda: f"{client.user}@%",
        "session_user": lambda: f"{client.user}@%",
        "system_user": lambda: f"{client.user}@%",
        "connection_id": lambda: client.id,
        "version": lambda: VERSION,
        "last_insert_id": lambda: 0,
        "row_count": lambda: client.affected,
        "found_rows": lambda: client.affected,
    }

    def change(token: Token, following: Token | None) -> str | None:
        if token.kind == "variable" and not token.text.startswith("@@"):
            user, name = client.variables.user, token.text[1:].lower()
            return _written(user[name]) if name in user else None  # else it is DuckDB's sign for abs()
        if token.kind == "variable":
            name = token.text[2:].rpartition(".")[2].strip().strip("`")
            return _written(client.variables.get(name))
        call = functions.get(token.text.lower())
        return _written(call()) if call is not None and following == ("other", "(") else None

    return _with_schema(replaced(text, change))


def question(text: str, client: Client) -> str | None:
    """The SELECT that answers a SHOW or DESCRIBE; None when it is not one of MySQL's."""
    plain = _without_comments(text).rstrip(";").strip()
    for pattern, answer in _QUESTIONS:
        found = pattern.fullmatch(plain)
        if found is not None:
            return answer(found.groupdict(), client)
    return None


def preview(text: str, client: Client) -> str | None:
    """The SELECT for the first rows of what is listed as a table, when it is a model: its columns, and no row; None
    when it is none. Tools send one for whatever a user clicks on; a model has no rows without inputs."""
    if _LIMIT.search(text) is None:
        return None
    plain = _without_comments(text)
    if (around := _WRAPPED.fullmatch(plain)) is not None:
        inside = preview(around["inside"] + ("" if _LIMIT.search(around["inside"]) else " LIMIT 0"), client)
        return f"{around['front']}({inside}) {around['end']}" if inside is not None else None
    found = _PREVIEW.fullmatch(plain)
    if found is None or not client.has_model(unquoted(found["name"])):
        return None
    database = unquoted(found["database"]) if found["database"] else None
    relation = client.relation(database, unquoted(found["name"]))
    return f"{found['asked']} LIMIT 0" if relation is not None and relation.kind == "MODEL" else None


def _without_comments(text: str) -> str:
    return "".join(" " if token.kind == "comment" else token.text for token in tokens(text)).strip()


def unquoted(name: str) -> str:
    """An identifier without its quotes."""
    if name[:1] in ('"', "`"):
        return name[1:-1].replace(name[0] * 2, name[0])
    return name


# Answers ------------------------------------------------------------------------------------------------------

_Parts = Mapping[str, str | None]
_Answer = Callable[[_Parts, Client], str | None]


def _select(query: str, parts: _Parts, like: str, order: str = "") -> str:
    """`query`, with the LIKE or WHERE of a SHOW."""
    where = ""
    if parts.get("like"):
        where = f" WHERE {quote(like)} ILIKE {parts['like']} ESCAPE '\\'"
    elif parts.get("where"):
        where = f" WHERE ({parts['where']})"
    return f"SELECT * FROM ({query}) AS answer{where}{order}"


def _text_rows(names: list[str], rows: list[tuple[object, ...]]) -> str:
    return values([(name, "VARCHAR") for name in names], rows)


def _databases(parts: _Parts, client: Client) -> str:
    query = f'SELECT "SCHEMA_NAME" AS "Database" FROM ({information_schema.TABLES["schemata"]})'
    return _select(query, parts, "Database", ' ORDER BY "Database" ASC')


def _tables(parts: _Parts, client: Client) -> str:
    place = unquoted(parts["db"] or client.database)
    column = f"Tables_in_{place}"
    kind = ', "TABLE_TYPE" AS "Table_type"' if parts["full"] else ""
    query = (
        f'SELECT "TABLE_NAME" AS {quote(column)}{kind} FROM ({information_schema.TABLES["tables"]}) '
        f'WHERE "TABLE_SCHEMA" = {literal(place)}'
    )
    return _select(query, parts, column, " ORDER BY 1 ASC")


def _relation(parts: _Parts, client: Client) -> Relation | None:
    place = parts.get("db") or parts.get("prefix")
    return client.relation(unquoted(place) if place else None, unquoted(parts["table"] or ""))


def _known(parts: _Parts, client: Client) -> Relation:
    """The relation that is asked for. Raises MySQLError (1146)."""
    found = _relation(parts, client)
    if found is None:
        table = unquoted(parts["table"] or "")
        raise MySQLError(f'the table "{table}" does not exist', 1146, "42S02", hint="SHOW TABLES lists them")
    return found


def _columns(parts: _Parts, client: Client) -> str:
    relation = _known(parts, client)
    full = bool(parts.get("full"))
    collation = '"COLLATION_NAME" AS "Collation", ' if full else ""
    more = ', "PRIVILEGES" AS "Privileges", "COLUMN_COMMENT" AS "Comment"' if full else ""
    query = (
        f'SELECT "COLUMN_NAME" AS "Field", "COLUMN_TYPE" AS "Type", {collation}"IS_NULLABLE" AS "Null", '
        f'"COLUMN_KEY" AS "Key", "COLUMN_DEFAULT" AS "Default", "EXTRA" AS "Extra"{more} '
        f'FROM ({relation.columns}) WHERE {relation.condition} ORDER BY "ORDINAL_POSITION" ASC'
    )
    return _select(query, parts, "Field")


def _describe(parts: _Parts, client: Client) -> str | None:
    """DESCRIBE of a table; a model has more to say of itself."""
    found = _relation(parts, client)
    if found is None or found.kind == "MODEL":
        return None
    if parts.get("column"):
        parts = {**parts, "like": literal(unquoted(parts["column"] or "").strip("'"))}
    return _columns(parts, client)


def _indexes(parts: _Parts, client: Client) -> str:
    relation = _known(parts, client)
    query = (
        'SELECT "TABLE_NAME" AS "Table", "NON_UNIQUE" AS "Non_unique", "INDEX_NAME" AS "Key_name", '
        '"SEQ_IN_INDEX" AS "Seq_in_index", "COLUMN_NAME" AS "Column_name", "COLLATION" AS "Collation", '
        '"CARDINALITY" AS "Cardinality", "SUB_PART" AS "Sub_part", "PACKED" AS "Packed", "NULLABLE" AS "Null", '
        '"INDEX_TYPE" AS "Index_type", "COMMENT" AS "Comment", "INDEX_COMMENT" AS "Index_comment", '
        '"IS_VISIBLE" AS "Visible", "EXPRESSION" AS "Expression" '
        f"FROM ({information_schema.TABLES['statistics']}) WHERE {relation.condition}"
    )
    return _select(query, parts, "Key_name")


def _create_table(parts: _Parts, client: Client) -> str:
    """SHOW CREATE TABLE, from the picture that `information_schema` gives: drivers read columns and keys from it."""
    relation = _known(parts, client)
    tables, here, table = information_schema.TABLES, relation.condition, relation.name
    mark = '"' if "ANSI" in str(client.variables.get("sql_mode")).upper() else "`"

    def name(column: str) -> str:
        return f"'{mark}' || replace({column}, '{mark}', '{mark * 2}') || '{mark}'"

    def listed(column: str, order: str) -> str:
        return f"string_agg({name(quote(column))}, ',' ORDER BY {quote(order)} ASC)"

    columns = f"""
SELECT 1 AS part, "ORDINAL_POSITION" AS place, {name('"COLUMN_NAME"')} || ' ' || "COLUMN_TYPE"
  || CASE "IS_NULLABLE" WHEN 'NO' THEN ' NOT NULL' ELSE '' END
  || CASE WHEN "COLUMN_DEFAULT" IS NOT NULL THEN ' DEFAULT ' || "COLUMN_DEFAULT"
     WHEN "IS_NULLABLE" = 'YES' THEN ' DEFAULT NULL' ELSE '' END AS line
FROM ({relation.columns}) WHERE {here}"""
    keys = f"""
SELECT 2, row_number() OVER (ORDER BY key ASC),
  CASE key WHEN 'PRIMARY' THEN 'PRIMARY KEY (' ELSE 'UNIQUE KEY ' || {name("key")} || ' (' END || columns || ')'
FROM (SELECT "INDEX_NAME" AS key, {listed("COLUMN_NAME", "SEQ_IN_INDEX")} AS columns
  FROM ({tables["statistics"]}) WHERE {here} GROUP BY 1)"""
    references = f"""
SELECT 3, row_number() OVER (ORDER BY key ASC), 'CONSTRAINT ' || {name("key")} || ' FOREIGN KEY (' || columns
  || ') REFERENCES ' || {name("other")} || ' (' || others || ')'
FROM (SELECT "CONSTRAINT_NAME" AS key, system.main.any_value("REFERENCED_TABLE_NAME") AS other,
    {listed("COLUMN_NAME", "ORDINAL_POSITION")} AS columns,
    {listed("REFERENCED_COLUMN_NAME", "ORDINAL_POSITION")} AS others
  FROM ({tables["key_column_usage"]}) WHERE {here} AND "REFERENCED_TABLE_NAME" IS NOT NULL GROUP BY 1)"""
    return f"""
SELECT {literal(table)} AS "Table", 'CREATE TABLE ' || {name(literal(table))} || ' (\n  '
  || string_agg(line, ',\n  ' ORDER BY part ASC, place ASC)
  || '\n) ENGINE=DuckDB DEFAULT CHARSET=utf8mb4' AS "Create Table"
FROM ({columns} UNION ALL {keys} UNION ALL {references})"""


def _status(parts: _Parts, client: Client) -> str:
    place = unquoted(parts["db"] or client.database)
    query = (
        'SELECT "TABLE_NAME" AS "Name", "ENGINE" AS "Engine", "VERSION" AS "Version", "TABLE_ROWS" AS "Rows", '
        '"TABLE_COLLATION" AS "Collation", "CREATE_OPTIONS" AS "Create_options", "TABLE_TYPE" AS "Comment" '
        f'FROM ({information_schema.TABLES["tables"]}) WHERE "TABLE_SCHEMA" = {literal(place)}'
    )
    return _select(query, parts, "Name", " ORDER BY 1 ASC")


def _variables(parts: _Parts, client: Client) -> str:
    rows: list[tuple[object, ...]] = [(name, _shown(value)) for name, value in client.variables.items()]
    return _select(_text_rows(["Variable_name", "Value"], rows), parts, "Variable_name", " ORDER BY 1 ASC")


def _server_status(parts: _Parts, client: Client) -> str:
    rows: list[tuple[object, ...]] = [
        ("Ssl_cipher", ""),
        ("Threads_connected", str(len(client.processes()))),
        ("Threads_running", str(sum(process[4] == "Query" for process in client.processes()))),
    ]
    return _select(_text_rows(["Variable_name", "Value"], rows), parts, "Variable_name", " ORDER BY 1 ASC")


def _warnings(parts: _Parts, client: Client) -> str:
    names = [("Level", "VARCHAR"), ("Code", "INTEGER"), ("Message", "VARCHAR")]
    what = (parts["what"] or "").lower()
    kept = [row for row in client.warnings if what == "warnings" or row[0] == "Error"]
    if parts["count"]:
        return f'SELECT {len(kept)} AS "@@session.{what[:-1]}_count"'
    return values(names, kept)


def _processes(parts: _Parts, client: Client) -> str:
    names = [("Id", "BIGINT"), ("User", "VARCHAR"), ("Host", "VARCHAR"), ("db", "VARCHAR"), ("Command", "VARCHAR"),
             ("Time", "BIGINT"), ("State", "VARCHAR"), ("Info", "VARCHAR")]  # fmt: skip
    return values(names, client.processes())


def _grants(parts: _Parts, client: Client) -> str:
    return _text_rows([f"Grants for {client.user}@%"], [(f"GRANT USAGE ON *.* TO `{client.user}`@`%`",)])


def _of_schema(table: str, columns: str, like: str) -> _Answer:
    def answer(parts: _Parts, client: Client) -> str:
        return _select(f"SELECT {columns} FROM ({information_schema.TABLES[table]})", parts, like)

    return answer


def _nothing(*names: str) -> _Answer:
    return lambda parts, client: _select(_text_rows(list(names), []), parts, names[0])


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.I | re.S)


_TABLE = rf"(?:(?P<prefix>{_NAME})\s*\.\s*)?(?P<table>{_NAME})"
_QUESTIONS: tuple[tuple[re.Pattern[str], _Answer], ...] = tuple(
    (_pattern(pattern), answer)
    for pattern, answer in (
        (rf"SHOW\s+(?:DATABASES|SCHEMAS){_TAIL}", _databases),
        (rf"SHOW\s+(?:EXTENDED\s+)?(?P<full>FULL\s+)?TABLES(?:\s+{_OF}\s+(?P<db>{_NAME}))?{_TAIL}", _tables),
        (rf"SHOW\s+(?:EXTENDED\s+)?(?P<full>FULL\s+)?(?:COLUMNS|FIELDS)\s+{_OF}\s+{_TABLE}"
         rf"(?:\s+{_OF}\s+(?P<db>{_NAME}))?{_TAIL}", _columns),
        (rf"SHOW\s+(?:INDEX|INDEXES|KEYS)\s+{_OF}\s+{_TABLE}(?:\s+{_OF}\s+(?P<db>{_NAME}))?{_TAIL}", _indexes),
        (rf"SHOW\s+CREATE\s+(?:TABLE|VIEW)\s+{_TABLE}", _create_table),
        (rf"SHOW\s+TABLE\s+STATUS(?:\s+{_OF}\s+(?P<db>{_NAME}))?{_TAIL}", _status),
        (rf"SHOW\s+(?:(?:GLOBAL|SESSION|LOCAL)\s+)?VARIABLES{_TAIL}", _variables),
        (rf"SHOW\s+(?:(?:GLOBAL|SESSION|LOCAL)\s+)?STATUS{_TAIL}", _server_status),
        (r"SHOW\s+(?P<count>COUNT\s*\(\s*\*\s*\)\s+)?(?P<what>WARNINGS|ERRORS)(?:\s+LIMIT\s+.+)?", _warnings),
        (r"SHOW\s+(?:FULL\s+)?PROCESSLIST", _processes),
        (r"SHOW\s+GRANTS(?:\s+FOR\s+.+)?", _grants),
        (r"SHOW\s+(?:STORAGE\s+)?ENGINES", _of_schema("engines", "*", "ENGINE")),
        (rf"SHOW\s+(?:CHARACTER\s+SET|CHARSET){_TAIL}", _of_schema(
            "character_sets", '"CHARACTER_SET_NAME" AS "Charset", "DESCRIPTION" AS "Description", '
            '"DEFAULT_COLLATE_NAME" AS "Default collation", "MAXLEN" AS "Maxlen"', "Charset")),
        (rf"SHOW\s+COLLATION{_TAIL}", _of_schema(
            "collations", '"COLLATION_NAME" AS "Collation", "CHARACTER_SET_NAME" AS "Charset", "ID" AS "Id", '
            '"IS_DEFAULT" AS "Default", "IS_COMPILED" AS "Compiled", "SORTLEN" AS "Sortlen"', "Collation")),
        (rf"SHOW\s+(?:PROCEDURE|FUNCTION)\s+STATUS{_TAIL}", _nothing("Db", "Name", "Type")),
        (rf"SHOW\s+TRIGGERS(?:\s+{_OF}\s+{_NAME})?{_TAIL}", _nothing("Trigger", "Event", "Table", "Statement")),
        (rf"SHOW\s+EVENTS(?:\s+{_OF}\s+{_NAME})?{_TAIL}", _nothing("Db", "Name", "Status")),
        (r"SHOW\s+PLUGINS", _nothing("Name", "Status", "Type", "Library", "License")),
        (rf"(?:DESCRIBE|DESC|EXPLAIN)\s+{_TABLE}(?:\s+(?P<column>{_NAME}|'[^']*'))?", _describe),
    )
)  # fmt: skip


def _with_schema(text: str) -> str:
    """`information_schema.x` becomes MySQL's table of that name, where DuckDB's is another."""
    pieces = list(tokens(text))
    for position, token in enumerate(pieces):
        if token.kind not in ("word", "quoted") or unquoted(token.text).lower() != "information_schema":
            continue
        rest = list(islice((i for i in range(position + 1, len(pieces)) if pieces[i].significant), 3))
        if len(rest) < 2 or pieces[rest[0]].text != ".":
            continue
        name = unquoted(pieces[rest[1]].text)
        query = information_schema.TABLES.get(name.lower())
        if query is not None and len(rest) > 2 and pieces[rest[2]].text == ".":
            # In front of a column: the table is known by its bare name below.
            pieces[position : rest[1]] = [Token("space", "")] * (rest[1] - position)
            continue
        before = next((p.text.upper() for p in reversed(pieces[:position]) if p.significant and p.text), "")
        if query is None or before not in ("FROM", "JOIN", ","):
            continue
        alias = pieces[rest[2]] if len(rest) > 2 else None
        named = alias is not None and (alias.text.upper() == "AS" or _is_alias(alias))
        pieces[position] = Token("other", f"({query})" + ("" if named else f" AS {quote(name)}"))
        for index in range(position + 1, rest[1] + 1):
            pieces[index] = Token("space", "")
    return "".join(token.text for token in pieces)


_AFTER_TABLE = frozenset(
    ["WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "JOIN", "LEFT", "RIGHT", "INNER", "CROSS", "FULL",
     "NATURAL", "ON", "USING", "UNION", "EXCEPT", "INTERSECT", "WINDOW", "QUALIFY", "FOR", "STRAIGHT_JOIN"]
)  # fmt: skip


def _is_alias(token: Token) -> bool:
    return token.kind == "quoted" or (token.kind == "word" and token.text.upper() not in _AFTER_TABLE)


def _written(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(int(value))
    return repr(value) if isinstance(value, (int, float)) else literal(value)


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    return "" if value is None else str(value)
