"""Owns the queries of the differential test: random ones, each a pair of texts that must give the same rows.

A query is built as one text in which `⟦ours¦DuckDB's⟧` marks where the two differ: the FROM, and names that only ours
may leave unqualified.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .relations import MODELS, Model, Relations, Source, mark, side
from .variations import Pair, vary


class Generator(Relations):
    """Makes queries from a source of randomness."""

    def query(self) -> Pair:
        """A query."""
        shapes: list[Callable[[], tuple[str, bool]]] = [
            self.plain, self.plain, self.plain, self.grouped, self.windowed, self.distinct, self.star,
            self.union, self.wrapped, self.wrapped, self.cte, self.nested, self.models_alone, self.models_alone,
            self.self_joined,
        ]  # fmt: skip
        text, ordered = self.pick.choice(shapes)()
        return vary(Pair(side(text, 1), side(text, 2), ordered), self.pick)

    # Expressions ------------------------------------------------------------------------------------------------

    def number_column(self, source: Source) -> str:
        name = self.pick.choice(source.numbers)
        if "¦" in name:
            return name
        _, column = name.split(".")
        owners = {other for other in source.numbers if other.split(".")[1] == column}
        if owners == {name} and not re.search(r"\bu\b", source.text) and self.chance(0.3):
            return mark(column, name)
        return name

    def number(self, source: Source, depth: int = 2) -> str:
        if depth == 0 or self.chance(0.4):
            return (
                self.number_column(source) if self.chance(0.8) else self.pick.choice(["1", "2", "0.5", "10"])
            )
        left, right = (self.number(source, depth - 1) for _ in range(2))
        return self.pick.choice(
            [
                f"({left} + {right})",
                f"({left} - {right})",
                f"coalesce({left}, {right})",
                f"CASE WHEN {self.boolean(source, depth - 1)} THEN {left} ELSE {right} END",
                f"length({self.text(source, depth - 1)})",
                f"abs({left})",
                f"round({left})",
            ]
        )

    def text(self, source: Source, depth: int = 1) -> str:
        if depth == 0 or not source.texts or self.chance(0.6):
            return self.pick.choice(source.texts) if source.texts and self.chance(0.9) else "'x'"
        inner = self.text(source, depth - 1)
        return self.pick.choice([f"upper({inner})", f"({inner} || 'x')", f"coalesce({inner}, '-')"])

    def boolean(self, source: Source, depth: int = 2) -> str:
        if depth > 0 and self.chance(0.45):
            left, right = (self.boolean(source, depth - 1) for _ in range(2))
            return self.pick.choice(
                [f"NOT ({left})", f"({left} OR {right})", f"({left} AND {right})", f"({left}) IS NOT TRUE"]
            )
        number = self.number(source, min(depth, 1))
        other = self.number(source, 0)
        choices = [
            f"{number} {self.pick.choice(['=', '<', '>', '>=', '<>'])} {other}",
            f"{number} BETWEEN 1 AND {other}",
            f"{number} IN (1, 2, 3, 11)",
            f"{number} IS NULL",
            f"{number} IS DISTINCT FROM {other}",
            f"CASE WHEN {number} > 1 THEN true END",
            f"{number} IN (SELECT d FROM u)",
            f"EXISTS (SELECT 1 FROM u AS uu WHERE uu.id = {self.pick.choice(source.numbers)})",
            f"{number} > (SELECT avg(d) FROM u)",
        ]
        if source.texts:
            text = self.text(source)
            choices += [
                f"{text} = 'x'",
                f"{text} LIKE '%y%'",
                f"{text} IS NOT NULL",
                f"{text} IN ('x', 'low')",
            ]
        # A comparison with a model's input at the top of WHERE would give it a value: here it is always wrapped.
        return f"({self.pick.choice(choices)} OR false)"

    def where(self, source: Source, most: int = 2) -> str:
        terms = [*source.where, *(self.boolean(source) for _ in range(self.pick.randint(0, most)))]
        self.pick.shuffle(terms)
        return " WHERE " + " AND ".join(terms) if terms else ""

    def projections(self, source: Source, least: int = 1) -> list[str]:
        columns = []
        for number in range(self.pick.randint(least, 4)):
            value = self.number(source) if self.chance(0.75) else self.text(source)
            columns.append(f"{value} AS x{number}")
        return columns

    # Shapes -----------------------------------------------------------------------------------------------------

    def plain(self) -> tuple[str, bool]:
        source = self.source()
        columns = self.projections(source)
        text = f"SELECT {', '.join(columns)} FROM {source.text}{self.where(source)}"
        if not self.chance(0.6):
            return text, False
        return text + self.order(source, len(columns)) + self.limit(), True

    def order(self, source: Source, columns: int) -> str:
        """An ORDER BY that leaves nothing open."""
        first = (
            f"{self.number(source, 1)} + 0 {self.pick.choice(['', 'DESC', 'NULLS FIRST', 'DESC NULLS LAST'])}"
        )
        rest = ", ".join(map(str, range(1, columns + 1)))
        if source.key is not None and self.chance(0.6):
            rest = source.key
        if self.chance(0.3):
            first = "x0 DESC"
        return f" ORDER BY {first}, {rest}"

    def limit(self) -> str:
        if not self.chance(0.7):
            return ""
        return f" LIMIT {self.pick.randint(0, 6)}" + (
            f" OFFSET {self.pick.randint(0, 3)}" if self.chance(0.4) else ""
        )

    def grouped(self) -> tuple[str, bool]:
        source = self.source()
        value = self.number(source, 1)
        aggregates = self.pick.sample(
            [
                "count(*)",
                f"count({value})",
                f"sum({value})",
                f"min({value})",
                f"max({value}) FILTER (WHERE {self.boolean(source, 1)})",
                f"count(DISTINCT {value})",
            ],
            2,
        )
        aggregates = [f"{value} AS v{number}" for number, value in enumerate(aggregates)]
        if self.chance(0.3):
            text = f"SELECT {', '.join(aggregates)} FROM {source.text}{self.where(source)}"
            return text + self.pick.choice(["", " LIMIT 1", " HAVING count(*) > 3"]), False
        key = self.pick.choice([self.number(source, 1), self.text(source)])
        text = f"SELECT {key} AS k, {', '.join(aggregates)} FROM {source.text}{self.where(source)}"
        text += self.pick.choice([" GROUP BY ALL", " GROUP BY 1"])
        if self.chance(0.4):
            text += f" HAVING {self.pick.choice(['count(*) > 1', f'max({value}) > 2', 'NOT count(*) = 1'])}"
        if self.chance(0.5):
            return text + " ORDER BY 2 DESC, 1, 3" + self.limit(), True
        return text, False

    def windowed(self) -> tuple[str, bool]:
        source = self.source()
        key = source.key or "m.y"
        columns = self.projections(source, 1)[:2]
        over = f"OVER (PARTITION BY {self.number(source, 0)} ORDER BY {key})"
        window = self.pick.choice(["rank()", f"sum({self.number(source, 0)})", "count(*)"])
        text = f"SELECT {', '.join(columns)}, {window} {over} AS r FROM {source.text}{self.where(source, 1)}"
        if self.chance(0.4):
            text += self.pick.choice([" QUALIFY r <= 2", f" QUALIFY rank() {over} = 1"])
        if self.chance(0.4):
            return text + f" ORDER BY ALL{self.limit()}", True
        return text, False

    def distinct(self) -> tuple[str, bool]:
        source = self.source()
        columns = self.projections(source)[:2]
        if self.chance(0.3) and source.key is not None:
            key = self.number_column(source)
            text = f"SELECT DISTINCT ON ({key}) {', '.join(columns)} FROM {source.text}{self.where(source)}"
            return f"{text} ORDER BY {key}, {source.key}{self.limit()}", True
        text = f"SELECT DISTINCT {', '.join(columns)} FROM {source.text}{self.where(source)}"
        if self.chance(0.5):
            return f"{text} ORDER BY ALL{self.limit()}", True
        return text, False

    def star(self) -> tuple[str, bool]:
        source = self.source()
        while not source.stars:
            source = self.source()
        columns = self.pick.choice(
            [
                "*",
                "t.*",
                "m.*",
                "m.*, t.*",
                "*, m.y + 1 AS more",
                "* EXCLUDE (y)",
                "t.b, m.y",
                "t.en, t.li, m.y",
                "t.en, t.de, m",
            ]
        )
        if source.text.startswith("w"):
            columns = columns.replace("t.", "w.").replace("w.en, w.li", "w.a").replace("w.en, w.de", "w.b")
        order = " ORDER BY t.en, t.id" if source.key == "t.id" and self.chance(0.5) else ""
        return f"SELECT {columns} FROM {source.text}{self.where(source)}{order}", bool(order)

    def union(self) -> tuple[str, bool]:
        parts = []
        for _ in range(2):
            source = self.source()
            parts.append(
                f"SELECT {self.number(source)} AS x0, {self.text(source)} AS x1 FROM {source.text}{self.where(source)}"
            )
        word = self.pick.choice(["UNION ALL", "UNION", "EXCEPT", "INTERSECT"])
        text = f" {word} ".join(parts)
        return (text + " ORDER BY ALL" + self.limit(), True) if self.chance(0.4) else (text, False)

    def inner(self) -> tuple[str, Source]:
        """A query with a model, to stand in another one, and what can be read from it."""
        source = self.source()
        columns = f"{source.numbers[0]} AS i, {self.number(source)} AS x, m.y AS y, {self.text(source)} AS s"
        text = f"SELECT {columns} FROM {source.text}{self.where(source, 1)}"
        if self.chance(0.3):
            text += f" ORDER BY {source.numbers[0]}, 2, 3, 4{self.limit()}"
        outer = Source("q")
        outer.add("q", "i x y", "s")
        return text, outer

    def wrapped(self) -> tuple[str, bool]:
        text, outer = self.inner()
        outer.text = f"({text}) AS q"
        return self.over(outer)

    def cte(self) -> tuple[str, bool]:
        text, outer = self.inner()
        query, ordered = self.over(outer)
        return f"WITH q AS ({text}) {query}", ordered

    def over(self, outer: Source) -> tuple[str, bool]:
        """A query that reads another one, perhaps with a model of its own."""
        if self.chance(0.3):
            outer.text += " JOIN u ON u.id = q.i"
            outer.add("u", "d", "note")
        if self.chance(0.4):
            k = MODELS[1]
            outer.text += " " + mark(
                "JOIN k ON k.c = q.i / 2 AND k.a = q.i",
                "JOIN k_1 AS k ON k.c IS NOT DISTINCT FROM q.i / 2 AND k.a IS NOT DISTINCT FROM q.i",
            )
            outer.add(k.name, "band_confidence c", "band")
        columns = self.projections(outer)
        text = f"SELECT {', '.join(columns)} FROM {outer.text}{self.where(outer)}"
        if self.chance(0.3):
            return f"{text} ORDER BY ALL{self.limit()}", True
        return text, False

    def nested(self) -> tuple[str, bool]:
        """A query of tables in whose expressions models stand."""
        source = self.source()
        where = self.where(source, 1)
        condition = self.pick.choice(
            [
                f"t0.id IN (SELECT {source.numbers[0]} FROM {source.text}{where})",
                f"t0.id > (SELECT min({source.numbers[0]}) FROM {source.text}{where})",
                f"EXISTS (SELECT 1 FROM {source.text}{where})",
                f"EXISTS (SELECT 1 FROM {source.text}{where or ' WHERE true'} AND {source.numbers[0]} = t0.id)",
                f"NOT t0.id IN (SELECT {source.numbers[0]} FROM {source.text}{where})",
            ]
        )
        scalar = f"(SELECT max(m.y) FROM {source.text}{where})" if self.chance(0.4) else "1"
        return f"SELECT t0.id, {scalar} AS top FROM t AS t0 WHERE {condition}", False

    def self_joined(self) -> tuple[str, bool]:
        """Two queries with models joined, and the views."""
        (one, first), (two, _) = self.inner(), self.inner()
        first.text = f"({one}) AS q"
        how = self.pick.choice(["JOIN", "LEFT JOIN", "FULL JOIN"])
        if self.chance(0.5):
            view = self.pick.choice(["m", "k"])
            model = next(model for model in MODELS if model.name == view)
            equal = " AND ".join(f"v.{c} IS NOT DISTINCT FROM t.{c}" for c in model.inputs)
            plain = (
                f"(SELECT t.id, v.{model.target} AS answer FROM t JOIN {view}_{len(model.offsets)} AS v ON {equal} "
                f"WHERE v.{model.target} IS NOT NULL)"
            )
            first.text += f" {how} {mark(f'v_{view}', plain)} AS p ON p.id = q.i"
            return f"SELECT q.i, q.y, p.answer FROM {first.text}", False
        first.text += f" {how} ({two}) AS p ON p.i = q.i"
        return f"SELECT q.x, p.y, q.s, p.s FROM {first.text}", False

    # Models alone -----------------------------------------------------------------------------------------------

    def models_alone(self) -> tuple[str, bool]:
        model = self.pick.choice(MODELS)
        version = self.pick.choice([None, *range(1, len(model.offsets) + 1)])
        number = version or len(model.offsets)
        ours = f"{model.name}.{version} AS {model.name}" if version else model.name
        source = Source(mark(ours, f"{model.name}_{number} AS {model.name}"))
        inputs = [name for name in model.inputs if name != "b"]
        source.add(model.name, f"{model.target}_confidence", "band" if model.engine == "bands" else "")
        if model.engine == "linear":
            source.add(model.name, model.target)
        branches = [self.branch(model, source) for _ in range(self.pick.choice([1, 1, 1, 2, 3]))]
        where = " OR ".join(f"({branch})" for branch in branches) if len(branches) > 1 else branches[0]
        if self.chance(0.2):
            where = f"({where}) AND {self.boolean(source, 1)}"
        # An input that is not given may be shown, but not asked about.
        source.add(model.name, " ".join(inputs))
        columns = self.projections(source)
        shown = self.pick.choice([", ".join(columns), ", ".join(columns), "*", f"{model.target}, *"])
        text = f"SELECT {shown} FROM {source.text} WHERE {where}"
        if shown == "*":
            return text, False
        fate = self.pick.random()
        if fate < 0.2:
            return (
                f"SELECT count(*) AS n, max(x0) AS top FROM ({text.replace('SELECT', 'SELECT 1 AS x0,', 1)})",
                False,
            )
        if fate < 0.5:
            return f"{text} ORDER BY ALL{self.limit()}", True
        return text, False

    def branch(self, model: Model, source: Source) -> str:
        """A conjunction that gives some inputs."""
        names = list(model.inputs)
        given = self.pick.sample(names, self.pick.randint(1, len(names)))
        terms = []
        for name in given:
            column = self.pick.choice([name, f"{model.name}.{name}"])
            values = [self.constant(name) for _ in range(3)]
            terms.append(
                self.pick.choice(
                    [
                        f"{column} = {values[0]}",
                        f"{values[0]} = {column}",
                        f"{column} IN ({', '.join(values[: self.pick.randint(1, 3)])})",
                        f"{column} IS NULL",
                        f"{column} IN (SELECT {name} FROM t WHERE id < 5)"
                        if name != "y"
                        else f"{column} = 1",
                    ]
                )
            )
        if self.chance(0.4):
            terms.append(self.boolean(source, 1))
        self.pick.shuffle(terms)
        absent = [f"{model.name}.{name} IS NULL" for name in names if name not in given]
        text = " AND ".join(terms)
        return text + (mark("", " AND " + " AND ".join(absent)) if absent else "")
