"""Owns what the queries of the differential test read: the tables, the models with their grids, and random FROMs.

A text marks with `⟦ours¦DuckDB's⟧` where the two texts of a query differ: a model, for DuckDB alone, is a join with
its grid.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

SETUP = """
CREATE TABLE t AS SELECT i::INTEGER AS id, nullif(i * 7 % 5, 4)::INTEGER AS a,
    ['x', 'yy', 'zzz', NULL][1 + i * 3 % 4] AS b, [0.5, 1.5, NULL, -1.0][1 + i * 5 % 4]::DOUBLE AS c,
    (i % 3)::INTEGER AS g, ['up', 'down', NULL][1 + i % 3]::ENUM ('up', 'down') AS en, (i * 1.25)::DECIMAL(6, 2) AS de,
    DATE '2024-02-27' + i::INTEGER AS da, [i, NULL] AS li, (i * 10::HUGEINT ** 20)::HUGEINT AS hu,
    {'p': i, 'q': 'x'} AS st
  FROM range(12) AS r(i);
CREATE TABLE u AS SELECT (i * 2 % 10)::INTEGER AS id, (i % 4)::INTEGER AS d, ['p', 'q', NULL][1 + i % 3] AS note
  FROM range(7) AS r(i);
CREATE TABLE w AS SELECT i::INTEGER AS id, (i % 3)::INTEGER AS a, ['x', NULL, 'yy'][1 + i % 3] AS b,
    i * 1.0::DOUBLE AS y
  FROM range(6) AS r(i);
CREATE SCHEMA s;
CREATE TABLE s.t AS SELECT * FROM t WHERE id % 2 = 0;
CREATE TABLE empty AS FROM t WHERE false;
"""

_HALVES = "UNION ALL SELECT NULL) AS {0}({0})"
_DOMAINS = {
    "a": "(SELECT range::INTEGER FROM range(-8, 31) UNION ALL SELECT NULL) AS a(a)",
    "b": "(VALUES (NULL), ('x'), ('yy'), ('zzz'), ('X'), ('YY'), ('ZZZ'), ('q'), ('x!'), ('yy!'), ('zzz!')) AS b(b)",
    "c": "(SELECT (range / 2.0)::DOUBLE FROM range(-16, 61) UNION ALL SELECT NULL) AS c(c)",
    "y": "(SELECT (range / 2.0)::DOUBLE FROM range(-20, 121) UNION ALL SELECT NULL) AS y(y)",
}


@dataclass(frozen=True)
class Model:
    """A model of the test: its inputs with their types, and the offset of each version."""

    name: str
    engine: str
    target: str
    inputs: Mapping[str, str]
    offsets: tuple[float, ...] = (0.0,)

    def create(self) -> list[str]:
        """The statements that make it."""
        columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in self.inputs.items())
        kind = "VARCHAR" if self.engine == "bands" else "DOUBLE"
        first, *others = self.offsets
        return [
            f"CREATE MODEL {self.name} FROM (SELECT {columns}, NULL::{kind} AS {self.target}) "
            f"PREDICT {self.target} USING engine = '{self.engine}', offset = {first}",
            *(f"RETRAIN {self.name} USING offset = {offset}" for offset in others),
            f"CREATE VIEW v_{self.name} AS SELECT t.id, {self.name}.{self.target} AS answer "
            f"FROM t CROSS JOIN {self.name} WHERE {self.name}.{self.target} IS NOT NULL"
            if "y" not in self.inputs
            else "SELECT 1",  # its rows are not fetched: the next statement must not mind
        ]


MODELS = (
    Model("m", "linear", "y", {"a": "INTEGER", "b": "VARCHAR"}, (0.0, 10.0)),
    Model("k", "bands", "band", {"c": "DOUBLE", "a": "INTEGER"}),
    Model("n", "linear", "z", {"y": "DOUBLE", "c": "DOUBLE"}),
)


ORDINAL = "CREATE MODEL o FROM (SELECT id, 1::BIGINT AS nth FROM t) PREDICT nth USING engine = 'ordinal'"
"""A model that must be given all rows at once: the queries' texts for DuckDB number them."""


def grid_sql(model: Model, version: int) -> str:
    """The statement that makes the table of all combinations of a model's inputs."""
    names = ", ".join(f"{name}.{name}" for name in model.inputs)
    domains = " CROSS JOIN ".join(_DOMAINS[name] for name in model.inputs)
    return f"CREATE TABLE {model.name}_{version}_inputs AS SELECT {names} FROM {domains}"


@dataclass
class Source:
    """A FROM: its text, and the columns that can be read from it, by kind."""

    text: str
    numbers: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    key: str | None = None
    """A column without repetitions."""
    stars: bool = True
    """Whether `*` means the same in both texts."""

    def add(self, alias: str, numbers: str, texts: str = "") -> None:
        self.numbers += [f"{alias}.{name}" for name in numbers.split()]
        self.texts += [f"{alias}.{name}" for name in texts.split()]


def mark(ours: str, theirs: str) -> str:
    return f"⟦{ours}¦{theirs}⟧"


def side(text: str, index: int) -> str:
    """One of the two texts: innermost marks first, as they may nest."""
    pattern = re.compile(r"⟦([^⟦⟧¦]*)¦([^⟦⟧¦]*)⟧")
    while "⟦" in text:
        text = pattern.sub(lambda found: found[index], text)
    return text


class Relations:
    """Makes FROMs from a source of randomness."""

    def __init__(self, pick: random.Random) -> None:
        self.pick = pick

    def chance(self, share: float) -> bool:
        return self.pick.random() < share

    def model(self, source: Source, model: Model, alias: str, given: Mapping[str, str]) -> None:
        """Join a model to a source; `given` says which column each of its inputs has by name."""
        version = self.pick.choice([None, *range(1, len(model.offsets) + 1)])
        number = version or len(model.offsets)
        name = f"{model.name}.{version}" if version else model.name
        if alias != model.name or version:
            name += f" AS {alias}"
        terms = dict(given)
        on: list[str] = []
        for column in model.inputs:
            fate = self.pick.random()
            if fate < 0.12 and column in "ab":
                value = self.constant(column)
                source.where.append(f"{alias}.{column} = {value}")
                terms.pop(column, None)
            elif fate < 0.24 and column in "abc" and "t.id" in source.numbers:
                value = self.pick.choice(
                    {
                        "a": ["t.id + 1", "t.g * 2", "coalesce(t.a, 7)", "length(t.b)"],
                        "b": ["upper(t.b)", "t.b || '!'", "'q'"],
                        "c": ["t.c * 2", "t.g + 0.5", "t.a"],
                    }[column]
                )
                terms[column] = value
                on.append(self.pick.choice([f"{alias}.{column} = {value}", f"{value} = {alias}.{column}"]))
        join = self.pick.choice(["JOIN", "JOIN", "CROSS JOIN", "INNER JOIN", "LEFT JOIN", ","])
        if on:
            join = self.pick.choice(["JOIN", "LEFT JOIN"])
        equal = " AND ".join(
            f"{alias}.{column} IS NOT DISTINCT FROM {value}" for column, value in terms.items()
        )
        ours = f"{join} {name}" + (f" ON {' AND '.join(on)}" if on else "")
        source.text += " " + mark(ours, f"JOIN {model.name}_{number} AS {alias} ON {equal or 'true'}")
        if model.engine == "bands":
            source.add(alias, "band_confidence a c", "band")
        else:
            inputs = [name for name in model.inputs if name not in "b"]
            source.add(alias, f"{model.target} {model.target} {model.target}_confidence {' '.join(inputs)}")

    def source(self) -> Source:
        """Data with one to three models."""
        m, k, n = MODELS
        fate = self.pick.random()
        if fate < 0.1:
            source = Source("w", key="w.id")
            source.add("w", "id a y", "b")
            self.model(source, m, "m", {"a": "w.a", "b": "w.b"})
            return source
        table = "empty AS t" if self.chance(0.05) else "t"
        source = Source(table, key="t.id")
        source.add("t", "id a c g", "b")
        if fate < 0.25:
            self.join_other(source, "t.id")
        if fate > 0.9:
            inner = f"(SELECT * FROM t WHERE {self.pick.choice(['id > 3', 'b IS NOT NULL', 'g <> 1'])}) AS t"
            source.text = inner
        elif 0.4 <= fate < 0.6:
            self.join_in_another_way(source)
        elif 0.6 <= fate < 0.65 and table == "t":
            self.number_rows(source)
        self.model(source, m, "m", {"a": "t.a", "b": "t.b"})
        if self.chance(0.4):
            self.model(source, k, "k", {"c": "t.c", "a": "t.a"})
        if self.chance(0.25):
            self.model(source, m, "m2", {"a": "t.a", "b": "t.b"})
        elif self.chance(0.3) and not source.where:
            self.model(source, n, "n", {"y": "m.y", "c": "t.c"})
        if 0.25 <= fate < 0.4:
            self.join_other(source, self.pick.choice(["t.id", "m.y", "t.g"]))
        elif fate > 0.8:
            self.join_in_another_way(source, after="m.y")
        return source

    def join_other(self, source: Source, column: str) -> None:
        how = self.pick.choice(["JOIN", "LEFT JOIN"])
        source.text += f" {how} u ON u.id = {column}"
        if self.chance(0.3):
            source.text += " AND u.d > 0"
        source.add("u", "d", "note")
        source.key = None

    def join_in_another_way(self, source: Source, after: str = "") -> None:
        """Join a table by a join that is not written every day; `after` is a column of a model that stands before."""
        column = self.pick.choice(["t.id", "t.g", after or "t.a"])
        before = [
            ("{0} RIGHT JOIN u ON u.id = " + column, "d", "note"),
            ("{0} FULL JOIN u ON u.id = " + column, "d", "note"),
            ("{0} SEMI JOIN u ON u.id = " + column, "", ""),
            ("{0} ANTI JOIN u ON u.id = " + column, "", ""),
            ("{0} ASOF JOIN (SELECT id AS number, y AS wy FROM w) AS w ON " + column + " >= w.number", "wy", ""),
            ("{0} ASOF LEFT JOIN (SELECT id AS number, y AS wy FROM w) AS w ON " + column + " >= w.number", "wy", ""),
            ("{0} LEFT JOIN LATERAL (SELECT " + column + " + 1 AS la, 'x' AS note) AS u ON true", "la", "note"),
            ("{0}, LATERAL (SELECT count(*) AS d, min(note) AS note FROM u AS i WHERE i.id = " + column + ") AS u",
             "d", "note"),
            ("{0}, (VALUES (1, 'x'), (2, NULL)) AS u(d, note)", "d", "note"),
            ("{0} JOIN (u AS u0 JOIN (SELECT id AS number FROM w) AS w0 ON number = u0.id) ON u0.id = " + column,
             "", ""),
        ]
        if after:
            before += [
                ("{0} JOIN u USING (id)", "d", "note"),
                ("{0} RIGHT JOIN u USING (id)", "d", "note"),
                ("{0} NATURAL LEFT JOIN u", "d", "note"),
                ("{0} NATURAL FULL JOIN u", "d", "note"),
                ("{0} ANTI JOIN u USING (id)", "", ""),
            ]
        else:
            before += [
                ("{0} JOIN u USING (id)", "d", "note"),
                ("{0} LEFT JOIN u USING (id)", "d", "note"),
                ("{0} RIGHT JOIN u USING (id)", "d", "note"),
                ("{0} NATURAL JOIN u", "d", "note"),
                ("{0} NATURAL FULL JOIN u", "d", "note"),
                ("{0} SEMI JOIN u USING (id)", "", ""),
                ("{0} POSITIONAL JOIN u", "d", "note"),
                ("u RIGHT JOIN {0} ON u.id = " + column, "d", "note"),
                ("u FULL JOIN {0} ON u.id = " + column, "d", "note"),
                ("u LEFT JOIN {0} USING (id)", "d", "note"),
                ("u NATURAL RIGHT JOIN {0}", "d", "note"),
                ("u POSITIONAL JOIN {0}", "d", "note"),
                ("range(3) AS u(d) CROSS JOIN {0}", "d", ""),
                ("{0}, unnest(t.li) AS u(d)", "d", ""),
            ]  # fmt: skip
        how, numbers, texts = self.pick.choice(before)
        source.text = how.format(source.text)
        source.add("u" if "wy" not in numbers else "w", numbers, texts)
        if " SEMI " not in how and " ANTI " not in how and " ASOF " not in how:
            source.key = None

    def number_rows(self, source: Source) -> None:
        """Join the model that numbers the rows it is given."""
        source.text = mark("t JOIN o", "(SELECT *, row_number() OVER () AS nth FROM t) AS t")
        source.numbers += [mark("o.nth", "t.nth")] * 2
        source.stars = False

    def constant(self, column: str) -> str:
        return {
            "a": self.pick.choice(["0", "1", "2", "3", "-1", "1 + 1", "(SELECT 2)", "abs(-3)"]),
            "b": self.pick.choice(["'x'", "'yy'", "'zzz'", "upper('x')", "(SELECT max(b) FROM t)"]),
            "c": self.pick.choice(["0.5", "1.5", "-1", "3", "1.0 / 2"]),
            "y": self.pick.choice(["1", "2.5", "10", "-3"]),
        }[column]
