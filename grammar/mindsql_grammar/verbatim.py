"""Owns that a query's own words are kept: parts of its tree know where they stand in the text, and a part that still
has the form in which it was read is written as it was written.

`annotate` notes the places and forms, `write` gives the text of a tree that was changed since. A node that may
be replaced (a column, a table, a SELECT with a model) has a place; what surrounds it stays the user's text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from sqlglot import ErrorLevel, Token, TokenType
from sqlglot import expressions as exp
from sqlglot.dialects.duckdb import DuckDB as DuckDBDialect

from mindsql_grammar.lexer import tokenize
from mindsql_grammar.outline import Block, Outline, Range, outline
from mindsql_grammar.words import quote

_DUCKDB = DuckDBDialect()
_TEXT = "mindsql_words"
"""Key in `meta`: `(words, start, end)`, where the node stands."""
_FORM = "mindsql_form"
"""Key in `meta`: the fingerprint of the node as it was read."""
_PLACE = "mindsql_place"
"""Key in `meta`: `(start, end)` of what may be replaced by something else."""
_WITH = "mindsql_with"
"""Key in `meta` of a query: `(start, end)` of its WITH."""

_QUERY = (TokenType.SELECT, TokenType.WITH, TokenType.FROM, TokenType.VALUES)

Place: TypeAlias = "tuple[int, int]"


class Words:
    """A statement's text, with what DuckDB would not read as it is: `?` among others, back-ticks.

    Attributes:
        text: The text.
        changes: `(start, end, replacement)` of what is written otherwise.
    """

    def __init__(self, text: str, changes: list[tuple[int, int, str]]) -> None:
        self.text = text
        self.changes = changes

    def __deepcopy__(self, memo: Any) -> Words:
        return self

    def slice(self, start: int, end: int, edits: Iterable[tuple[int, int, str]]) -> str:
        """The text from `start` to `end`, with `edits` put in place of what they span."""
        edits = sorted(edits)
        inside = (
            change
            for change in self.changes
            if start <= change[0] < end and not any(edit[0] <= change[0] < edit[1] for edit in edits)
        )
        pieces, at = [], start
        for first, last, replacement in sorted([*edits, *inside]):
            pieces += [self.text[at:first], replacement]
            at = last
        return "".join([*pieces, self.text[at:end]])


# Annotation ----------------------------------------------------------------------------------------------------------


def annotate(tree: exp.Expr, text: str, tokens: Sequence[Token]) -> None:
    """Note where the parts of a tree stand in its text.

    Args:
        tree: As the parser gave it, with the parser's positions on its identifiers.
        text: The statement's text.
        tokens: The tokens it was read from.
    """
    words = Words(text, list(_changes(text, tokens)))
    _Annotator(words, outline(tokens)).run(tree)
    for node, form in _forms(tree):
        if _TEXT in node.meta:
            node.meta[_FORM] = form


def _changes(text: str, tokens: Sequence[Token]) -> Iterator[tuple[int, int, str]]:
    for index, token in enumerate(tokens):
        if token.token_type is TokenType.IDENTIFIER and text[token.start] == "`":
            yield token.start, token.end + 1, quote(token.text)
        elif token.token_type is TokenType.PARAMETER and index + 1 < len(tokens):
            name = tokens[index + 1]
            if name.token_type is TokenType.NUMBER:
                yield token.start, name.end + 1, f"$p{name.text}"


def parenthesised(text: str) -> tuple[Words, list[Place]]:
    """The words of a statement, and where in it queries stand in parentheses, outer ones first; the statement itself
    need not be one that we can read. Raises ParseError: an unterminated string or comment."""
    _, tokens = tokenize(text, text, 0)
    found = Outline(tokens)
    places = []
    for index, token in enumerate(tokens[:-1]):
        if token.token_type is TokenType.L_PAREN and tokens[index + 1].token_type in _QUERY:
            last = tokens[found.after(index, len(tokens)) - 2]
            places.append((tokens[index + 1].start, last.end + 1))
    return Words(text, list(_changes(text, tokens))), places


class _Annotator:
    def __init__(self, words: Words, found: Outline) -> None:
        self.words = words
        self.outline = found
        self.tokens = found.tokens
        self.blocks = {block.tokens: block for block in found.blocks}

    def place(self, tokens: Range) -> Place:
        return self.tokens[tokens[0]].start, self.tokens[tokens[1] - 1].end + 1

    def written(self, token: Token) -> str:
        return self.words.text[token.start : token.end + 1]

    def note(self, node: object, tokens: Range | Place, *, chars: bool = False) -> bool:
        """Note where a node stands, unless its names say that it stands elsewhere."""
        if not isinstance(node, exp.Expr) or tokens[0] >= tokens[1]:
            return False
        start, end = tokens if chars else self.place(tokens)
        if any(not start <= at < end for at in _positions(node)):
            return False
        node.meta[_TEXT] = (self.words, start, end)
        return True

    def run(self, tree: exp.Expr) -> None:
        if not self.tokens:
            return
        if not isinstance(tree, exp.Create) or any(
            self.tokens[index].token_type is TokenType.ALIAS and self.written(self.tokens[index]).upper() == "AS"
            for index in self.outline.outside((0, len(self.tokens)))
        ):  # CREATE TABLE t SELECT …, without AS, is none of DuckDB's
            self.note(tree, (0, len(self.tokens)))
        for column in tree.find_all(exp.Column):
            at = [name.meta["start"] for name in column.parts if "start" in name.meta]
            if len(at) == len(column.parts) and not isinstance(column.this, exp.Star):
                start, end = min(at), max(name.meta["end"] for name in column.parts) + 1
                column.meta[_PLACE] = start, end
                self.note(column, (start, end), chars=True)
        for select, block in self.matched(tree):
            self.select(select, block)
        self.withs(tree)

    def matched(self, tree: exp.Expr) -> Iterator[tuple[exp.Select, Block]]:
        """Each SELECT of a tree with its text: the innermost that holds the names which are the SELECT's own."""
        selects = list(tree.find_all(exp.Select, bfs=False))
        if len(selects) != len(self.outline.blocks):
            return
        free = list(self.outline.blocks)
        unnamed: list[exp.Select] = []
        pairs: list[tuple[exp.Select, Block]] = []
        for select in selects:
            at = next(iter(_own_positions(select)), None)
            block = self.innermost(at) if at is not None else None
            if block is None:
                unnamed.append(select)
            elif block not in free:
                return
            else:
                free.remove(block)
                pairs.append((select, block))
        # `SELECT 1` has no names. A single one is told by elimination.
        if len(unnamed) == 1 and len(free) == 1:
            pairs.append((unnamed[0], free[0]))
        yield from pairs

    def innermost(self, at: int) -> Block | None:
        holding = [
            block
            for block in self.outline.blocks
            if self.tokens[block.tokens[0]].start <= at <= self.tokens[block.tokens[1] - 1].end
        ]
        return max(holding, key=lambda block: block.tokens[0], default=None)

    def select(self, select: exp.Select, block: Block) -> None:
        self.note(select, block.tokens)
        self.list(select.expressions, self.projections(block))
        self.from_(select, block)
        where = select.args.get("where")
        if where is not None and "where" in block.clauses:
            terms = list(_terms(where.this))
            pieces = self.outline.terms(block.clauses["where"])
            self.terms(terms, pieces)
        for key, kind in (("having", exp.Having), ("qualify", exp.Qualify)):
            node = select.args.get(key)
            if isinstance(node, kind) and key in block.clauses:
                self.note(node.this, block.clauses[key])
        group = select.args.get("group")
        if group is not None and "group" in block.clauses and set(_given(group)) == {"expressions"}:
            self.list(group.expressions, self.outline.split(block.clauses["group"], TokenType.COMMA))
        order = select.args.get("order")
        if order is not None and "order" in block.clauses:
            self.list(order.expressions, self.outline.split(block.clauses["order"], TokenType.COMMA))
        for key in ("limit", "offset"):
            node = select.args.get(key)
            if node is not None and set(_given(node)) == {"expression"} and key in block.clauses:
                self.note(node.expression, block.clauses[key])

    def projections(self, block: Block) -> list[Range]:
        start, end = block.clauses.get("projections", (0, 0))
        if start < end and self.tokens[start].token_type in (TokenType.ALL, TokenType.DISTINCT):
            start += 1
            if start < end and self.tokens[start].token_type is TokenType.ON:
                start = self.outline.after(start + 1, end)
        pieces = self.outline.split((start, end), TokenType.COMMA)
        return pieces if pieces[-1][0] < pieces[-1][1] else pieces[:-1]  # a comma may stand after the last

    def list(self, nodes: Sequence[exp.Expr], pieces: Sequence[Range]) -> None:
        if len(nodes) != len(pieces):
            return
        for node, piece in zip(nodes, pieces, strict=True):
            if not self.note(node, piece) or not isinstance(node, exp.Alias):
                continue
            value = self.value_of(node, piece)
            if value is not None:
                self.note(node.this, value)

    def value_of(self, node: exp.Alias, piece: Range) -> Range | None:
        """The tokens of `value` in `value AS name` and `name: value`."""
        start, end = piece
        name = node.args["alias"]
        if not isinstance(name, exp.Identifier) or end - start < 2:
            return None
        if self.tokens[end - 1].start == name.meta.get("start"):
            before = end - 2
            return (start, before) if self.tokens[before].token_type is TokenType.ALIAS else (start, end - 1)
        if self.tokens[start].start == name.meta.get("start"):
            return start + 2, end
        return None

    def from_(self, select: exp.Select, block: Block) -> None:
        source = select.args.get("from_")
        joins = select.args.get("joins") or []
        if source is None or len(block.items) != 1 + len(joins):
            return
        for node, item in zip([source.this, *(join.this for join in joins)], block.items, strict=True):
            start, end = item.relation
            if self.note(node, item.relation) and isinstance(node, exp.Table) and not node.args.get("joins"):
                first = next(iter(_positions(node.this)), None)
                if all(part.meta.get("start") is not None for part in node.parts) and first is not None:
                    begin = min(part.meta["start"] for part in node.parts)
                    if self.tokens[start].start == begin:
                        node.meta[_PLACE] = self.place((start, end))
                    if self.written(self.tokens[start]).endswith(")"):
                        del node.meta[_TEXT]  # a native query, which a made name stands for
        for join, item in zip(joins, block.items[1:], strict=True):
            if join.args.get("on") is not None and item.on is not None:
                self.note(join.args["on"], item.on)
                self.terms(list(_terms(join.args["on"])), self.outline.terms(item.on))

    def terms(self, terms: Sequence[exp.Expr], pieces: Sequence[Range]) -> None:
        if len(terms) != len(pieces):
            return
        for term, piece in zip(terms, pieces, strict=True):
            if not self.note(term, piece) or not isinstance(term, (exp.EQ, exp.NullSafeEQ)):
                continue
            kind = TokenType.EQ if isinstance(term, exp.EQ) else TokenType.FROM
            cuts = [index for index in self.outline.outside(piece) if self.tokens[index].token_type is kind]
            if len(cuts) != 1:
                continue
            left = (piece[0], cuts[0])
            if kind is TokenType.FROM:  # a IS NOT DISTINCT FROM b
                left = (piece[0], cuts[0] - 3)
            self.note(term.this, left)
            self.note(term.expression, (cuts[0] + 1, piece[1]))

    def withs(self, tree: exp.Expr) -> None:
        nodes = [node for node in tree.find_all(exp.With) if node.parent is not None]
        if len(nodes) != len(self.outline.withs):
            return
        for node in nodes:
            at = [next(iter(_positions(cte.args["alias"])), None) for cte in node.expressions]
            # The innermost goes first: the names of a WITH stand inside the WITH that it stands in, too.
            for found in sorted(self.outline.withs, key=lambda with_: with_.tokens[1] - with_.tokens[0]):
                places = [self.place(piece) for piece in found.expressions]
                if len(places) == len(at) and all(
                    name is not None and start <= name < end for name, (start, end) in zip(at, places, strict=True)
                ):
                    assert node.parent is not None
                    node.parent.meta[_WITH] = self.place(found.tokens)
                    for cte, piece in zip(node.expressions, found.expressions, strict=True):
                        self.note(cte, piece)
                    break


def _given(node: exp.Expr) -> Iterator[str]:
    return (key for key, value in node.args.items() if value)


def _positions(node: exp.Expr) -> Iterator[int]:
    """Where the names below a node stand; those of its own WITH, which stands in front of it, are left out."""
    for part in node.walk(prune=lambda inner: isinstance(inner, exp.With) and inner.parent is node):
        if isinstance(part, exp.Identifier) and "start" in part.meta:
            yield part.meta["start"]


def _own_positions(select: exp.Select) -> Iterator[int]:
    """Where the names of a SELECT stand that belong to no query inside it."""
    for part in select.walk(prune=lambda inner: isinstance(inner, (exp.Query, exp.With)) and inner is not select):
        if isinstance(part, exp.Identifier) and "start" in part.meta:
            yield part.meta["start"]


def _terms(condition: exp.Expr) -> Iterator[exp.Expr]:
    condition = condition.unnest() if isinstance(condition, exp.Paren) else condition
    if isinstance(condition, exp.And):
        yield from _terms(condition.this)
        yield from _terms(condition.expression)
    else:
        yield condition


# Changes and writing -------------------------------------------------------------------------------------------------


def open_up(tree: exp.Expr, queries: Iterable[exp.Expr]) -> None:
    """Say which queries of a tree will be changed clause by clause: what surrounds them stays as it is written."""
    for node, form in _forms(tree):
        if _TEXT in node.meta and node.meta[_FORM] != form:
            del node.meta[_TEXT]
    for query in queries:
        if _TEXT in query.meta:
            query.meta[_PLACE] = query.meta[_TEXT][1:]
    for node, form in _forms(tree):
        if _TEXT in node.meta:
            node.meta[_FORM] = form


def move_with(owner: exp.Expr, query: exp.Expr) -> None:
    """Note that the WITH of a statement is now that of the query in it."""
    place = owner.meta.pop(_WITH, None)
    if place is not None and _WITH not in query.meta:
        query.meta[_WITH] = place
    else:
        owner.meta.pop(_TEXT, None)


def take_place(node: exp.Expr, of: exp.Expr) -> exp.Expr:
    """Give a node the place of the one that it replaces. Returns the node."""
    if _PLACE in of.meta:
        node.meta[_PLACE] = of.meta[_PLACE]
    return node


def write(tree: exp.Expr) -> str:
    """A tree as DuckDB's SQL, in the user's words where they still say what the tree says."""
    tree = tree.copy()
    forms = {id(node): form for node, form in _forms(tree)}
    return _Writer(forms).text(tree)


def _forms(tree: exp.Expr) -> list[tuple[exp.Expr, int]]:
    """Each node with the fingerprint of what is below it: placed nodes count as their place, placed WITHs do not."""
    result: list[tuple[exp.Expr, int]] = []

    def visit(node: exp.Expr) -> int:
        parts: list[Any] = [type(node).__name__]
        for key, value in node.args.items():
            if isinstance(value, exp.Expr):
                form = visit(value)
            elif isinstance(value, list):
                form = hash(tuple(visit(item) if isinstance(item, exp.Expr) else item for item in value))
                if not value:
                    continue
            elif value is None or value is False:
                continue
            else:
                form = hash(value)
            if key != "with_" or _WITH not in node.meta:
                parts += [key, form]
        form = hash("parameter") if isinstance(node, (exp.Placeholder, exp.Parameter)) else hash(tuple(parts))
        result.append((node, form))
        place = node.meta.get(_PLACE) if node._meta else None
        return hash(("place", place)) if place is not None else form

    visit(tree)
    return result


class _Writer:
    def __init__(self, forms: dict[int, int]) -> None:
        self.forms = forms

    def text(self, node: exp.Expr) -> str:
        """The text of a node, whose tree may be changed."""
        kept = self.kept(node)
        if kept is not None:
            return kept
        for child in list(node.iter_expressions()):
            self.settle(child)
        return node.sql(dialect=_DUCKDB, comments=False, copy=False, unsupported_level=ErrorLevel.IGNORE)

    def settle(self, node: exp.Expr) -> None:
        """Put the user's words in the place of a node, or of those below it that have kept their form."""
        kept = self.kept(node)
        if kept is not None:
            node.replace(exp.Var(this=kept))
            return
        for child in list(node.iter_expressions()):
            self.settle(child)

    def kept(self, node: exp.Expr) -> str | None:
        """The user's words for a node that has kept its form, with what was replaced inside."""
        noted = node.meta.get(_TEXT) if node._meta else None
        if noted is None or node.meta.get(_FORM) != self.forms.get(id(node)):
            return None
        words, start, end = noted
        edits: list[tuple[int, int, str]] = []
        self.replaced(node, edits, top=True)
        with_ = node.args.get("with_")
        front = node.meta.get(_WITH)
        outside = front is not None and front[0] < start
        text: str = words.slice(start, end, [edit for edit in edits if start <= edit[0]])
        if outside and with_ is not None:
            return f"{self.text(with_)} {text}"
        return text

    def replaced(self, node: exp.Expr, edits: list[tuple[int, int, str]], top: bool = False) -> None:
        """Collect what stands in the places below a node."""
        if not node._meta and not node.args:
            return
        front = node.meta.get(_WITH)
        if front is not None:
            with_ = node.args.get("with_")
            edits.append((*front, self.text(with_) if with_ is not None else ""))
        place = node.meta.get(_PLACE)
        if place is not None and not top:
            if front is not None:
                node.set("with_", None)
            edits.append((*place, self.text(node)))
            return
        for child in list(node.iter_expressions()):
            if child.arg_key != "with_":
                self.replaced(child, edits)
