"""Owns how a query of the differential test is varied: names, parameters, a setting, a place in another statement, and
what is changed between two runs of it.

A variation changes both texts alike, so it can change no answer.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
from dataclasses import dataclass, field
from typing import Any

_ALIASES = ('"T 1"', '"a"', '"y"', '"m.y"', '"select"', '"__p0"', '"t.id"', '"é"', "s0", "T", "frame")
_TABLES = ("main.t", '"main"."t"', "T", "memory.main.t")
_SETTINGS = (
    "SET default_null_order = 'NULLS_FIRST'",
    "SET default_null_order = 'NULLS_LAST'",
    "SET default_order = 'DESC'",
    "SET integer_division = true",
    "SET preserve_insertion_order = false",
    "SET threads = 1",
    "SET search_path = 's,main'",
)
RESET = tuple(re.sub(r"SET (\w+) = .*", r"RESET \1", setting) for setting in _SETTINGS)
"""What takes the settings back."""

_FILE = os.path.join(tempfile.gettempdir(), f"differential-{os.getpid()}.parquet")
_CHANGES = (
    "UPDATE t SET a = 3, b = 'x' WHERE id % 3 = 0",
    "UPDATE t SET c = NULL, g = 1",
    "DELETE FROM t WHERE id IN (2, 3, 7)",
    "DELETE FROM t",
    "ALTER TABLE t RENAME COLUMN st TO remark",
    "ALTER TABLE t ALTER COLUMN a TYPE BIGINT",
    "ALTER TABLE t DROP COLUMN li",
    "ALTER TABLE t ADD COLUMN more INTEGER DEFAULT 5",
    "CREATE OR REPLACE TABLE t AS SELECT * REPLACE (CAST(a AS SMALLINT) AS a) FROM t WHERE id > 4",
    "CREATE TEMP TABLE t AS SELECT * FROM main.t WHERE g > 0",
    "DROP TABLE u; CREATE VIEW u AS SELECT id::INTEGER AS id, 1::INTEGER AS d, 'p' AS note FROM range(3) AS r(id)",
)
"""What may happen to the tables between two runs; it is taken back after the second."""

_CONSTANTS: dict[str, tuple[str, Any]] = {
    "ten": (r"(?<![\w.'-])10(?![\w.'])", 10),
    "eleven": (r"(?<![\w.'-])11(?![\w.'])", 11),
    "ex": (r"'x'(?!')", "x"),
    "why": (r"'yy'", "yy"),
}


@dataclass
class Pair:
    """One query in two texts.

    Attributes:
        mindsql, duckdb: The texts.
        ordered: Whether the order of the rows is part of the answer.
        before: Statements that are run before, each a pair of texts too.
        after: Statements that take back what those did; they are run whatever happens.
        parameters: Values by name.
    """

    mindsql: str
    duckdb: str
    ordered: bool
    before: list[tuple[str, str]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    after: list[str] = field(default_factory=list)

    def both(self, change: Any) -> None:
        self.mindsql, self.duckdb = change(self.mindsql), change(self.duckdb)


def vary(pair: Pair, pick: random.Random) -> Pair:
    """Vary a pair in none, one or several ways."""
    if pick.random() < 0.2:
        _rename(pair, pick.choice(_ALIASES))
    elif pick.random() < 0.1:
        table = pick.choice(_TABLES)
        pair.both(lambda text: re.sub(r"(?<=FROM )t(?= |\)|$)(?! AS )", f"{table} AS t", text))
    if pick.random() < 0.15:
        pair.both(lambda text: re.sub(r"\b([tm])\.([abg])\b", lambda found: found[0].upper(), text))
    if pick.random() < 0.15:
        pair.before.append((pick.choice(_SETTINGS),) * 2)
    if pick.random() < 0.1:
        _change(pair, pick)
        return pair
    if pick.random() < 0.05 and "v_" not in pair.mindsql:  # a view reads the table itself
        _read_a_file(pair, pick)
        return pair
    if pick.random() < 0.2:
        _place(pair, pick)
    elif pick.random() < 0.2:
        _parameters(pair)
    return pair


def _rename(pair: Pair, alias: str) -> None:
    """Call the table t otherwise, wherever it is read."""

    def renamed(text: str) -> str:
        text = re.sub(r"(?<![\w.\"])t\.(?=[\w*])", f"{alias}.", text)
        text = re.sub(r"(?<=AS )t(?=[ ),]|$)", alias, text)
        return re.sub(r"((?:FROM|JOIN) )t(?= |\)|,|$)(?! +AS )", rf"\g<1>t AS {alias}", text)

    pair.both(renamed)


def _change(pair: Pair, pick: random.Random) -> None:
    """Run the query, change what it reads, and run it again: what was remembered of the first run must not count."""
    change = pick.choice([change for change in _CHANGES if "COLUMN" not in change or "*" in pair.mindsql])
    pair.before += [("BEGIN",) * 2, (pair.mindsql, pair.duckdb), (change,) * 2]
    pair.after.append("ROLLBACK")


def _read_a_file(pair: Pair, pick: random.Random) -> None:
    """Let the query read a file, which has other rows and types when it is read again."""
    rows = ("FROM t", "SELECT * FROM t WHERE id > 3", "SELECT * REPLACE (a::BIGINT AS a) FROM t", "FROM t LIMIT 0")
    pair.both(lambda text: re.sub(r"((?:FROM|JOIN) )t(?= |\)|,|$)(?! +AS )", rf"\g<1>'{_FILE}' AS t", text))
    for chosen in pick.sample(rows, 2):
        pair.before += [(f"COPY ({chosen}) TO '{_FILE}'",) * 2, (pair.mindsql, pair.duckdb)]
    del pair.before[-1]


def _parameters(pair: Pair) -> None:
    """Give the constants by parameters."""
    for name, (pattern, value) in _CONSTANTS.items():
        if re.search(pattern, pair.mindsql) and re.search(pattern, pair.duckdb):
            pair.mindsql, pair.duckdb = (re.sub(pattern, f"${name}", text) for text in (pair.mindsql, pair.duckdb))
            pair.parameters[name] = value


def _place(pair: Pair, pick: random.Random) -> None:
    """Let the query stand in another statement."""
    make = [
        ["CREATE OR REPLACE TEMP TABLE r AS {0}", "FROM r"],
        ["CREATE OR REPLACE TEMP TABLE r AS SELECT * FROM ({0}) LIMIT 0", "INSERT INTO r {0}", "FROM r"],
        ["CREATE OR REPLACE TEMP TABLE r AS {0}", "INSERT INTO r SELECT * FROM ({0})", "FROM r"],
        ["CREATE OR REPLACE TEMP TABLE r AS SELECT 1 AS n", "UPDATE r SET n = (SELECT count(*) FROM ({0}) AS c)",
         "FROM r"],
        ["CREATE OR REPLACE TEMP TABLE r AS SELECT range AS n FROM range(20)",
         "DELETE FROM r WHERE n > (SELECT count(*) FROM ({0}) AS c)", "FROM r"],
        ["CREATE OR REPLACE VIEW rv AS SELECT * FROM ({0}) AS inside", "SELECT * FROM rv"],
        ["WITH c AS MATERIALIZED ({0}) SELECT * FROM c"],
        ["WITH c AS ({0}), d AS (SELECT count(*) AS n FROM c) SELECT c.*, d.n FROM c, d"],
        ["SELECT (SELECT count(*) FROM ({0}) AS c) AS n, EXISTS ({0}) AS e"],
        ["SELECT * FROM u WHERE u.d <= (SELECT count(*) FROM ({0}) AS c)"],
        ["SELECT * FROM ({0}) AS c UNION ALL SELECT * FROM ({0}) AS d"],
        ["SELECT count(*) AS n FROM range(2) AS r(i), LATERAL ({0}) AS c"],
        ["SELECT list(c) AS l FROM (SELECT * FROM ({0}) AS x ORDER BY ALL) AS c"],
        ["CREATE OR REPLACE VIEW rv AS {0}",
         "SELECT a.* FROM rv AS a, (SELECT count(*) AS n FROM rv) AS b WHERE b.n > 2"],
        ["CREATE OR REPLACE SEQUENCE sq", "CREATE OR REPLACE TEMP TABLE r AS SELECT nextval('sq') AS n FROM ({0}) AS c",
         "SELECT count(*), count(DISTINCT n), nextval('sq') FROM r"],
        ["WITH c AS MATERIALIZED (SELECT *, uuid() AS once FROM ({0}) AS x) "
         "SELECT count(*), count(DISTINCT a.once) FROM c AS a JOIN c AS b USING (once)"],
        [f"COPY ({{0}}) TO '{_FILE}'", f"FROM '{_FILE}'"],
        [f"COPY (SELECT count(*) AS n FROM ({{0}}) AS c) TO '{_FILE}'", f"FROM '{_FILE}'"],
        ["EXPLAIN {0}", "{0}"],
        ["PREPARE p AS {0}", "EXECUTE p"],
    ]  # fmt: skip
    chosen = pick.choice(make)
    statements = [(text.format(pair.mindsql), text.format(pair.duckdb)) for text in chosen]
    pair.before += statements[:-1]
    pair.mindsql, pair.duckdb = statements[-1]
    pair.ordered = pair.ordered and chosen[-1] in ("{0}", "EXECUTE p")
