"""Owns the statements about models: CREATE MODEL, RETRAIN, FINETUNE, EVALUATE and their clauses."""

from __future__ import annotations

from sqlglot import TokenType

from mindsql_grammar import values
from mindsql_grammar.cursor import Cursor
from mindsql_grammar.query import native_name, read_query, read_term
from mindsql_grammar.statements import (
    CreateEngine,
    CreateModel,
    Evaluate,
    Finetune,
    Name,
    Native,
    Option,
    Retrain,
    Rows,
    Span,
)

_CREATE_CLAUSES = ("FROM", "PREDICT", "ORDER BY", "GROUP BY", "WINDOW", "HORIZON", "USING")
_FIRST_CLAUSES = ("FROM", "PREDICT", "USING")


def create_engine(cursor: Cursor, span: Span, or_replace: bool) -> CreateEngine:
    """`CREATE [OR REPLACE] ML_ENGINE` is taken already."""
    exists = if_not_exists(cursor, or_replace)
    name = _model_name(cursor, "the name of the engine")
    if len(name) > 1:
        raise cursor.error("an engine's name has one part", cursor.tokens[cursor.index - 1])
    cursor.expect("FROM", "the name of the engine")
    quoted = cursor.kind() is TokenType.STRING
    handler = cursor.take().text if quoted else cursor.single_name("the name of a handler")
    options = values.options(cursor) if cursor.accept("USING") else ()
    _finish(cursor, "CREATE ML_ENGINE", ("USING",), bool(options))
    return CreateEngine(name[0], handler, options, or_replace, exists, span=span)


def create_model(cursor: Cursor, span: Span, *, or_replace: bool, anomaly: bool) -> CreateModel:
    """`CREATE [OR REPLACE] MODEL` is taken already."""
    exists = if_not_exists(cursor, or_replace)
    name = _model_name(cursor, "the name of the model")
    clauses = _Clauses(cursor, anomaly)
    clauses.read()
    if clauses.target is None and not anomaly:
        raise cursor.error(
            "CREATE MODEL needs PREDICT and the name of the column to predict", hint="write PREDICT column"
        )
    return CreateModel(
        name,
        clauses.target,
        clauses.alias,
        clauses.rows,
        clauses.order_by,
        clauses.group_by,
        clauses.window,
        clauses.horizon,
        clauses.options,
        or_replace,
        exists,
        anomaly,
        span=span,
    )


def retrain(cursor: Cursor, span: Span) -> Retrain:
    """`RETRAIN` is taken already."""
    _accept_kind_word(cursor, "MODEL", "PREDICTOR")
    name = _model_name(cursor, "the name of the model")
    rows, options, target = _rows_and_options(cursor, "RETRAIN", predict=True)
    return Retrain(name, rows, options, target, span=span)


def finetune(cursor: Cursor, span: Span) -> Finetune:
    """`FINETUNE` is taken already."""
    _accept_kind_word(cursor, "MODEL", "PREDICTOR")
    name = _model_name(cursor, "the name of the model")
    rows, options, _ = _rows_and_options(cursor, "FINETUNE")
    if rows is None:
        raise cursor.error("FINETUNE needs the new rows", hint="write FINETUNE model FROM (SELECT …)")
    return Finetune(name, rows, options, span=span)


def evaluate(cursor: Cursor, span: Span) -> Evaluate:
    """`EVALUATE` is taken already."""
    is_model = True if _accept_kind_word(cursor, "MODEL", "PREDICTOR") else None
    name, version = split_version(_model_name(cursor, "the name of a metric or a model"))
    rows, options, _ = _rows_and_options(cursor, "EVALUATE")
    return Evaluate(name, version, rows, options, is_model, span=span)


def if_not_exists(cursor: Cursor, or_replace: bool = False) -> bool:
    """Take `IF NOT EXISTS`; what begins with IF must go on so, and does not go with OR REPLACE."""
    if cursor.word() != "IF" or cursor.kind(1) is TokenType.DOT or cursor.word(1) in _CREATE_CLAUSES:
        return False
    token = cursor.take()
    cursor.expect("NOT", "IF")
    cursor.expect("EXISTS", "IF NOT")
    if or_replace:
        raise cursor.error("OR REPLACE and IF NOT EXISTS exclude each other", token, hint="leave one of them out")
    return True


def split_version(name: Name) -> tuple[Name, int | None]:
    """A name without the version at its end: `("m", "3")` is version 3 of m."""
    if len(name) > 1 and name[-1].isdecimal() and name[-1].isascii() and len(name[-1]) < 10:
        return name[:-1], int(name[-1])
    return name, None


def read_rows(cursor: Cursor) -> Rows:
    """`[source] ( … )`; the word FROM is taken already."""
    opening = cursor.peek()
    if opening is not None and opening.token_type is TokenType.L_PAREN:
        closing = cursor.closing(cursor.index)
        cursor.index += 1
        inner = Cursor(cursor.source, cursor.tokens, cursor.index, closing)
        query = read_query(inner, reads_only=True)
        if query is None:
            raise cursor.error("expected a query", hint="write FROM (SELECT …)")
        cursor.index = closing + 1
        text = cursor.source.text[opening.start + 1 : cursor.tokens[closing].start]
        return Rows(query=query, text=text)
    if _is_clause(cursor) and cursor.kind(1) is not TokenType.L_PAREN:
        cursor.fail("expected a source or (")
    start = cursor.index
    native = native_name(cursor)
    if native is None:
        name = cursor.name("a source")
        written = cursor.source.text[cursor.tokens[start].start : cursor.tokens[cursor.index - 1].end + 1]
        if cursor.kind() is TokenType.L_PAREN:
            raise cursor.error("this parenthesis is never closed")
        cursor.fail(
            f"expected ( after FROM {'.'.join(name)}",
            hint=f"write FROM (SELECT * FROM {written}) or FROM source (native query)",
        )
    return Rows(native=Native(*native), text=native[1])


class _Clauses:
    """The clauses of CREATE MODEL, in any order, each once."""

    def __init__(self, cursor: Cursor, anomaly: bool) -> None:
        self.cursor = cursor
        self.anomaly = anomaly
        self.seen: set[str] = set()
        self.rows: Rows | None = None
        self.target: str | None = None
        self.alias: str | None = None
        self.order_by: tuple[str, ...] = ()
        self.group_by: tuple[str, ...] = ()
        self.window: int | None = None
        self.horizon: int | None = None
        self.options: tuple[Option, ...] = ()

    def read(self) -> None:
        """Take all clauses up to the end."""
        cursor = self.cursor
        while not cursor.done():
            clause = cursor.word()
            if clause in ("ORDER", "GROUP"):
                cursor.index += 1
                cursor.fail(f"expected BY after {clause}", ["BY"])
            if clause not in _CREATE_CLAUSES:
                last = "USING" in self.seen
                first = self.target is None and not self.anomaly
                expected = "expected PREDICT" if first else "expected a clause of CREATE MODEL"
                if cursor.word() in ("WHERE", "LIMIT", "HAVING", "JOIN") and not first:
                    cursor.fail(expected, hint="rows are chosen inside FROM (SELECT … WHERE …)")
                cursor.fail(
                    f"{expected}{' or , and an option' if last else ''}",
                    _FIRST_CLAUSES
                    if first
                    else [c for c in (*_CREATE_CLAUSES, "ORDER", "GROUP") if c not in self.seen],
                    hint=None if first else "FROM, PREDICT, ORDER BY, GROUP BY, WINDOW, HORIZON or USING",
                )
            if clause in self.seen:
                raise cursor.error(f"{clause} is given twice", hint="leave one of them out")
            if clause not in _FIRST_CLAUSES[:2] and self.target is None and not self.anomaly:
                raise cursor.error(
                    f"PREDICT must come before {clause}", hint=f"write PREDICT column {clause} …"
                )
            self.seen.add(clause)
            cursor.index += 1
            self._clause(clause)

    def _clause(self, clause: str) -> None:
        match clause:
            case "FROM":
                self.rows = read_rows(self.cursor)
            case "PREDICT":
                self._predict()
            case "ORDER BY":
                self.order_by = self._terms(clause, ordered=True)
            case "GROUP BY":
                self.group_by = self._terms(clause, ordered=False)
            case "WINDOW":
                self.window = self._count(clause)
            case "HORIZON":
                self.horizon = self._count(clause)
            case "USING":
                self.options = values.options(self.cursor)

    def _predict(self) -> None:
        cursor = self.cursor
        if _is_clause(cursor) and cursor.word(1) != "AS":
            cursor.fail("expected the name of the column to predict")
        self.target = cursor.single_name("the name of the column to predict")
        if cursor.accept("AS"):
            self.alias = cursor.single_name("a name after AS")
        if cursor.kind() is TokenType.COMMA:
            raise cursor.error("a model predicts one column", hint="create one model for each target")

    def _count(self, clause: str) -> int:
        cursor = self.cursor
        token = cursor.peek()
        if token is None or token.token_type is not TokenType.NUMBER:
            cursor.fail(f"{clause} needs a positive whole number", hint=f"write {clause} 10")
        text = token.text
        if not (text.isdecimal() and text.isascii() and len(text) < 10 and int(text) > 0):
            cursor.fail(f"{clause} needs a positive whole number", hint=f"write {clause} 10")
        cursor.index += 1
        return int(text)

    def _terms(self, clause: str, *, ordered: bool) -> tuple[str, ...]:
        cursor = self.cursor
        terms: list[str] = []
        while True:
            end = self._term_end()
            if end == cursor.index or cursor.word() in ("USING", "FROM", "ORDER BY", "GROUP BY"):
                cursor.fail(f"expected a column after {clause if not terms else ','}")
            if end == cursor.index + 1 and cursor.kind() is TokenType.VAR:
                terms.append(cursor.take().text)
            else:
                terms.append(read_term(cursor, end, ordered=ordered))
            if not cursor.accept_kind(TokenType.COMMA):
                return tuple(terms)

    def _term_end(self) -> int:
        """Where the term ends: at a comma or the next clause; its first word is never a clause."""
        cursor = self.cursor
        depth = 0
        for index in range(cursor.index, cursor.end):
            kind = cursor.tokens[index].token_type
            if kind is TokenType.L_PAREN:
                depth += 1
            elif kind is TokenType.R_PAREN:
                depth -= 1
            elif (depth == 0 and kind is TokenType.COMMA) or (
                depth == 0 and index > cursor.index and cursor.word(index - cursor.index) in _CREATE_CLAUSES
            ):
                return index
        return cursor.end


def _model_name(cursor: Cursor, what: str) -> Name:
    """A name; a word that begins a clause is one only if a clause follows it."""
    if _is_clause(cursor):
        cursor.fail(f"expected {what}")
    return cursor.name(what)


def _is_clause(cursor: Cursor) -> bool:
    """Whether a clause comes next and not a name like it, as in `CREATE MODEL predict PREDICT y`."""
    if cursor.word() not in _CREATE_CLAUSES or cursor.kind(1) is TokenType.DOT:
        return False
    return cursor.word(1) not in _CREATE_CLAUSES and cursor.peek(1) is not None


def _accept_kind_word(cursor: Cursor, *words: str) -> bool:
    """Take MODEL when it is the kind and not itself the name."""
    if cursor.word() not in words or cursor.peek(1) is None or cursor.kind(1) is TokenType.DOT:
        return False
    if cursor.word(1) in ("FROM", "USING") and cursor.word(2) not in ("FROM", "USING"):
        return False
    cursor.index += 1
    return True


def _rows_and_options(
    cursor: Cursor, verb: str, *, predict: bool = False
) -> tuple[Rows | None, tuple[Option, ...], str | None]:
    """`[FROM …] [PREDICT …] [USING …]` up to the end, in any order; PREDICT where the verb has it."""
    rows: Rows | None = None
    options: tuple[Option, ...] = ()
    target: str | None = None
    clauses = ("FROM", "PREDICT", "USING") if predict else ("FROM", "USING")
    seen: set[str] = set()
    while not cursor.done():
        clause = cursor.word()
        if clause not in clauses:
            break
        if clause in seen:
            raise cursor.error(f"{clause} is given twice", hint="leave one of them out")
        seen.add(clause)
        cursor.index += 1
        if clause == "FROM":
            rows = read_rows(cursor)
        elif clause == "PREDICT":
            target = cursor.single_name("the name of the column to predict")
        else:
            options = values.options(cursor)
    _finish(cursor, verb, [w for w in clauses if w not in seen], bool(options))
    return rows, options, target


def _finish(cursor: Cursor, verb: str, clauses: tuple[str, ...] | list[str], options: bool) -> None:
    if cursor.done():
        return
    expected = [*clauses, *([", and an option"] if options else []), f"the end of {verb}"]
    if cursor.word() in ("FROM", "USING", "PREDICT", "WINDOW", "HORIZON", "ORDER BY", "GROUP BY"):
        again = cursor.word() in ("FROM", "USING")
        message = f"{cursor.word()} is given twice" if again else f"{verb} has no {cursor.word()}"
        raise cursor.error(message)
    cursor.fail(f"expected {' or '.join(expected)}", clauses)
