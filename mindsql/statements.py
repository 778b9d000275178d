"""Owns the first look at a text: is it DuckDB's alone, or may it be ours? The sqlglot border lies here too.

A statement that names no model, view, source or verb of ours goes to DuckDB as it was written. The look costs
microseconds; when it says "maybe", the grammar reads the statement and the binder decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mindsql.errors import StatementError

# Possessive (`*+`): a text of many comments would else be cut in each of the many ways there are.
_SPACE = r"(?:\s++|--[^\n]*+(?:\n|$)|/\*(?:[^*]++|\*(?!/))*+\*/)*+"
_LEADING = re.compile(rf"\s*+([A-Za-z_]+)|{_SPACE}\(*+\s*+([A-Za-z_]+)", re.S)
_OURS = re.compile(
    rf"""{_SPACE}(?:
      CREATE\s+(?:OR\s+REPLACE\s+)?(?:MODEL|PREDICTOR|ML_ENGINE|PROJECT|DATABASE|ANOMALY)\b
    | DROP\s+(?:MODEL|PREDICTOR|ML_ENGINE|PROJECT|DATABASE)\b
    | (?:RETRAIN|FINETUNE|EVALUATE|USE)\b
    | SHOW\s+(?:(?:LOADED\s+)?MODELS|PREDICTORS|ML_ENGINES|HANDLERS|ESTIMATORS|DATABASES|PROJECTS|VIEWS|TABLES\s+[^\s;])
    | (?:DESCRIBE|DESC)\s+(?:MODEL|PREDICTOR|ML_ENGINE|HANDLER|ESTIMATOR|DATABASE|PROJECT|VIEW)\s+[^\s;]
    | SET\s+active\s+[^=\s]
    | (?:SET|RESET)\s+executor\b
    )""",
    re.I | re.X | re.S,
)
_OUR_WORDS = frozenset(
    ["CREATE", "DROP", "RETRAIN", "FINETUNE", "EVALUATE", "USE", "SHOW", "DESCRIBE", "DESC", "SET", "RESET"]
)
_SYSTEM = (
    r"(?:information_schema\s*\.\s*"
    r"(?:models\w*|predictors|ml_engines|handler\w*|estimators|projects|databases|views|model_columns|loaded_models))"
)
MODEL_LISTS = frozenset({"models", "models_versions", "predictors"})
"""The names under which the models of a project are listed, in lower case."""
_LISTS = rf"(?:{'|'.join(sorted(MODEL_LISTS))})\b"

PREPARED_WORDS = frozenset({"PREPARE", "EXECUTE", "DEALLOCATE", "EXPLAIN"})
"""Leading words of statements that may be about prepared ones."""
TRANSACTION_WORDS = {
    "BEGIN": True,
    "START": True,
    "COMMIT": False,
    "END": False,
    "ROLLBACK": False,
    "ABORT": False,
}
"""Leading word → whether a transaction is open afterwards."""
SESSION_WORDS = frozenset({"SET", "RESET", "PRAGMA", "USE"})
"""Leading words of statements that change the session, and must be said to its other cursors too."""
COUNTING_WORDS = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY"})
"""Leading words of statements that give how many rows they changed."""
QUERY_WORDS = frozenset({"SELECT", "FROM", "VALUES", "TABLE", "DESCRIBE", "DESC", "SHOW", "SUMMARIZE"})
"""Leading words of statements that change nothing at all."""
READING_WORDS = frozenset(
    [
        "SELECT",
        "WITH",
        "FROM",
        "VALUES",
        "TABLE",
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "COPY",
        "EXPLAIN",
        "DESCRIBE",
        "DESC",
        "SHOW",
        "SUMMARIZE",
        "PIVOT",
        "UNPIVOT",
    ]
)
"""Leading words of statements that leave the shape of tables alone."""


def leading_word(text: str) -> str:
    """The first word of a statement, upper case; empty when there is none."""
    found = _LEADING.match(text)
    return (found[1] or found[2]).upper() if found else ""


def is_verb(text: str, word: str) -> bool:
    """Whether a statement begins with a verb of ours. `word` is its leading word."""
    return word in _OUR_WORDS and _OURS.match(text) is not None


@dataclass(frozen=True)
class Patterns:
    """What tells from a text whether it may be ours: what is ours in every database, and the names of one.

    Attributes:
        names: A name of the database's, anywhere in the text; None when there is none.
        words: Names that are single words, in lower case, when they are too many for a pattern.
    """

    names: re.Pattern[str] | None = None
    words: frozenset[str] = frozenset()

    def names_ours(self, text: str) -> bool:
        """Whether a text holds a name that may be ours, of a model or of a system table, or a back-quote."""
        return _NAMES.search(text) is not None or self._has_name(text)

    def doubtful(self, text: str) -> bool:
        """Whether a text is anything but one query of DuckDB's own."""
        return in_doubt(text) is not None or self._has_name(text)

    def _has_name(self, text: str) -> bool:
        if self.names is not None and self.names.search(text) is not None:
            return True
        return bool(self.words) and not self.words.isdisjoint(map(str.lower, _WORD.findall(text)))

    @classmethod
    def of(cls, names: Iterable[str]) -> Patterns:
        """The patterns for the names of models, views and sources."""
        every = set(names)
        single = frozenset(name.lower() for name in every if _WORD.fullmatch(name) and len(every) > _MANY)
        every = {name for name in every if name.lower() not in single}
        written = {spelt for name in every for spelt in (name, name.replace('"', '""'))}  # in double quotes, too
        if not written:
            return cls(words=single)
        parts = sorted(written, key=len, reverse=True)
        # This is asked of every statement. What may stand first is looked for first, which is four times as fast.
        first = "".join(re.escape(name[0]) for name in parts)
        words = rf"(?=[{first}])(?<!\w)(?:{'|'.join(map(re.escape, parts))})(?!\w)"
        return cls(re.compile(words, re.I), single)


_ANYWHERE = (
    rf"`|\.\s*{_LISTS}|(?<!\w)(?:(?:FROM|JOIN)\s+{_LISTS}|(?:mindsql|mindsdb)\s*\."
    rf"|FROM\s+\w+\s*\(\s*(?:SELECT|WITH|FROM)\b)|{_SYSTEM}"
)
_NAMES = re.compile(rf"(?=[`.fjmi])(?:{_ANYWHERE})", re.I)
in_doubt = re.compile(
    rf"\A(?!\s*(?:SELECT|WITH|FROM|VALUES)\b)|(?=[;`.fjmi])(?:;|{_ANYWHERE})", re.I
).search
"""Finds what makes a text anything but one query of DuckDB's own, in a database without names of ours."""

_MANY = 100
"""Of more names a pattern takes longer to make than the statement that made one more; they are looked up in a set."""
_WORD = re.compile(r"\w+")


def parse(text: str) -> list[object]:
    """The statements of a text. Raises StatementError: the grammar's error as ours."""
    import mindsql_grammar as grammar

    try:
        return list(grammar.parse(text))
    except grammar.ParseError as error:
        raise translate(error) from error


def translate(error: object) -> StatementError:
    """A ParseError as ours."""
    import mindsql_grammar as grammar

    assert isinstance(error, grammar.ParseError)
    return StatementError(error.message, hint=error.hint, span=error.span, text=error.text)
