"""Owns the outline of a query's text: where its SELECTs, their clauses and their items begin and end.

It is read from the tokens alone, by brackets and the reserved words that separate clauses, so it holds for expressions
that no parser of ours knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlglot import Token, TokenType

Range: TypeAlias = "tuple[int, int]"
"""Tokens from the first index up to, not including, the second."""

_OPENING = {
    TokenType.L_PAREN: TokenType.R_PAREN,
    TokenType.L_BRACKET: TokenType.R_BRACKET,
    TokenType.L_BRACE: TokenType.R_BRACE,
}
_SET_OPERATIONS = (TokenType.UNION, TokenType.INTERSECT, TokenType.EXCEPT)
_CLAUSES = {
    TokenType.SELECT: "projections",
    TokenType.FROM: "from",
    TokenType.WHERE: "where",
    TokenType.GROUP_BY: "group",
    TokenType.HAVING: "having",
    TokenType.QUALIFY: "qualify",
    TokenType.WINDOW: "window",
    TokenType.ORDER_BY: "order",
    TokenType.LIMIT: "limit",
    TokenType.OFFSET: "offset",
    TokenType.FETCH: "fetch",
}
_OF_THE_WHOLE = (TokenType.ORDER_BY, TokenType.LIMIT, TokenType.OFFSET, TokenType.FETCH)
_JOIN_WORDS = frozenset(
    ("NATURAL", "ASOF", "POSITIONAL", "LEFT", "RIGHT", "FULL", "OUTER", "INNER", "CROSS", "SEMI", "ANTI")
)


@dataclass
class Item:
    """An item of FROM: its relation, with alias, and the condition of the join that brings it in."""

    relation: Range
    on: Range | None = None


@dataclass
class Block:
    """One SELECT, from its first word to its last.

    Attributes:
        tokens: Its tokens; a WITH in front and parentheses round it do not belong to it.
        clauses: The tokens of each clause after its keyword.
        items: The items of FROM.
    """

    tokens: Range
    clauses: dict[str, Range] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)


@dataclass
class With:
    """One WITH: its tokens, from the keyword to the last expression, and those of each expression."""

    tokens: Range
    expressions: list[Range] = field(default_factory=list)


@dataclass
class Outline:
    """The SELECTs and WITHs of a query, in the order in which they begin."""

    tokens: Sequence[Token]
    blocks: list[Block] = field(default_factory=list)
    withs: list[With] = field(default_factory=list)

    def split(self, tokens: Range, kind: TokenType) -> list[Range]:
        """The pieces of a range between the tokens of one kind that stand outside of brackets."""
        pieces, start = [], tokens[0]
        for index in self.outside(tokens):
            if self.tokens[index].token_type is kind:
                pieces.append((start, index))
                start = index + 1
        return [*pieces, (start, tokens[1])]

    def outside(self, tokens: Range) -> Iterable[int]:
        """The indices in a range that stand outside of brackets; an opening bracket does, its closing one does not."""
        index, end = tokens
        while index < end:
            yield index
            index = self.after(index, end) if self.tokens[index].token_type in _OPENING else index + 1

    def after(self, opening: int, end: int) -> int:
        """The index after the bracket that closes the one at `opening`; `end` when none does."""
        depth = 0
        for index in range(opening, end):
            kind = self.tokens[index].token_type
            depth += 1 if kind in _OPENING else -1 if kind in _OPENING.values() else 0
            if depth == 0:
                return index + 1
        return end

    def is_parenthesised(self, tokens: Range) -> bool:
        """Whether a range is one pair of parentheses and what is in it."""
        start, end = tokens
        opens = start < end and self.tokens[start].token_type is TokenType.L_PAREN
        return opens and self.after(start, end) == end

    def terms(self, tokens: Range) -> list[Range]:
        """The terms of a conjunction, parentheses taken off."""
        while self.is_parenthesised(tokens):
            tokens = tokens[0] + 1, tokens[1] - 1
        cuts, cases, between = [], 0, 0
        for index in self.outside(tokens):
            kind = self.tokens[index].token_type
            if kind is TokenType.CASE:
                cases += 1
            elif kind is TokenType.END:
                cases -= 1
            elif cases:
                continue
            elif kind is TokenType.OR:
                return [tokens]
            elif kind is TokenType.BETWEEN:
                between += 1
            elif kind is TokenType.AND and between:
                between -= 1
            elif kind is TokenType.AND:
                cuts.append(index)
        if not cuts:
            return [tokens]
        pieces = zip([tokens[0], *(cut + 1 for cut in cuts)], [*cuts, tokens[1]], strict=True)
        return [term for piece in pieces for term in self.terms(piece)]


def outline(tokens: Sequence[Token]) -> Outline:
    """The outline of a statement with a query in it."""
    found = Outline(tokens)
    _Reader(found).group(0, len(tokens), whole=True)
    found.blocks.sort(key=lambda block: block.tokens)
    found.withs.sort(key=lambda with_: with_.tokens)
    return found


class _Reader:
    def __init__(self, found: Outline) -> None:
        self.found = found
        self.tokens = found.tokens

    def kind(self, index: int) -> TokenType | None:
        return self.tokens[index].token_type if index < len(self.tokens) else None

    def group(self, start: int, end: int, whole: bool = False) -> None:
        """What stands in one pair of brackets, or the whole statement."""
        block: Block | None = None
        clause: tuple[str, int] | None = None
        # A FROM begins a query where a query may begin: elsewhere it is a part of `extract(year FROM x)` and others.
        fresh, operated = True, False
        inserts = whole and self.kind(start) is TokenType.INSERT
        index = start
        while index < end:
            kind = self.kind(index)
            if kind in _OPENING:
                after = self.found.after(index, end)
                self.group(index + 1, after - 1)
                index, fresh = after, False
                continue
            if kind is TokenType.WITH and block is None and (fresh or inserts):
                index = self.with_(index, end)
                continue
            if kind in _SET_OPERATIONS and block is not None:
                self.close(block, clause, index)
                block, clause, operated = None, None, True
                index, fresh = self.after_set_operation(index, end), True
                continue
            if block is not None and self.ends_query(index):
                self.close(block, clause, index)
                return
            if kind in _CLAUSES and not self.is_distinct_from(index):
                if block is None and (
                    kind is TokenType.SELECT
                    or (kind is TokenType.FROM and (fresh or inserts or self.follows_as(index)))
                ):
                    block = Block((index, end))
                if block is not None and operated and kind in _OF_THE_WHOLE:
                    # ORDER BY and LIMIT behind a UNION are the union's, not its last SELECT's.
                    self.close(block, clause, index)
                    block = clause = None
                if block is not None:
                    self.end_clause(block, clause, index)
                    clause = _CLAUSES[kind], index + 1
            elif kind is TokenType.USING and block is not None and self.is_sample(index):
                self.end_clause(block, clause, index)
                clause = "sample", index + 1
            # CREATE … AS and INSERT INTO t: a query may begin.
            fresh = whole and block is None and kind is TokenType.ALIAS
            index += 1
        if block is not None:
            self.close(block, clause, end)

    def follows_as(self, index: int) -> bool:
        return index > 0 and self.kind(index - 1) is TokenType.ALIAS

    def is_distinct_from(self, index: int) -> bool:
        """Whether a FROM belongs to IS [NOT] DISTINCT FROM."""
        return (
            self.kind(index) is TokenType.FROM
            and index > 1
            and self.kind(index - 1) is TokenType.DISTINCT
            and self.kind(index - 2) in (TokenType.IS, TokenType.NOT)
        )

    def ends_query(self, index: int) -> bool:
        """Whether what follows is INSERT's: RETURNING, ON CONFLICT."""
        kind = self.kind(index)
        following = self.tokens[index + 1].text.upper() if index + 1 < len(self.tokens) else ""
        return kind is TokenType.RETURNING or (kind is TokenType.ON and following == "CONFLICT")

    def is_sample(self, index: int) -> bool:
        return index + 1 < len(self.tokens) and self.tokens[index + 1].text.upper() == "SAMPLE"

    def after_set_operation(self, index: int, end: int) -> int:
        index += 1
        while index < end and self.tokens[index].text.upper() in ("ALL", "DISTINCT", "BY", "NAME", "BY NAME"):
            index += 1
        return index

    def with_(self, start: int, end: int) -> int:
        """One WITH. Returns the index after its last expression."""
        index = start + 1
        if index < end and self.tokens[index].text.upper() == "RECURSIVE":
            index += 1
        found = With((start, end))
        while index < end:
            begin = index
            # name [(columns)] [USING KEY (columns)] AS [NOT MATERIALIZED] (query)
            while index < end and self.kind(index) is not TokenType.ALIAS:
                index = self.found.after(index, end) if self.kind(index) in _OPENING else index + 1
            while index < end and self.kind(index) is not TokenType.L_PAREN:
                index += 1
            if index >= end:
                break
            after = self.found.after(index, end)
            self.group(index + 1, after - 1, whole=True)
            found.expressions.append((begin, after))
            index = after
            if self.kind(index) is not TokenType.COMMA or index >= end:
                break
            index += 1
            if self.kind(index) in (TokenType.SELECT, TokenType.FROM):  # a comma after the last one
                break
        found.tokens = start, found.expressions[-1][1] if found.expressions else start + 1
        self.found.withs.append(found)
        return index

    def end_clause(self, block: Block, clause: tuple[str, int] | None, end: int) -> None:
        if clause is not None:
            # A keyword that stands twice was no clause: then nothing is known of it.
            name, start = clause
            block.clauses[name] = (start, start) if name in block.clauses else (start, end)

    def close(self, block: Block, clause: tuple[str, int] | None, end: int) -> None:
        self.end_clause(block, clause, end)
        block.tokens = block.tokens[0], end
        if "from" in block.clauses:
            block.items = list(self.items(block.clauses["from"]))
        self.found.blocks.append(block)

    def items(self, tokens: Range) -> Iterable[Item]:
        """The items of a FROM."""
        start = tokens[0]
        on: int | None = None
        for index in self.found.outside(tokens):
            kind = self.kind(index)
            if kind is TokenType.COMMA or kind is TokenType.JOIN:
                end = index
                while kind is TokenType.JOIN and end > start and self.is_join_word(end - 1):
                    end -= 1
                yield self.item(start, on, end)
                start, on = index + 1, None
            elif on is None and (
                kind is TokenType.ON or (kind is TokenType.USING and not self.is_sample(index))
            ):
                on = index
        yield self.item(start, on, tokens[1])

    def is_join_word(self, index: int) -> bool:
        return self.tokens[index].token_type is not TokenType.IDENTIFIER and (
            self.tokens[index].text.upper() in _JOIN_WORDS
        )

    def item(self, start: int, on: int | None, end: int) -> Item:
        if on is None:
            return Item((start, end))
        return Item((start, on), (on + 1, end) if self.kind(on) is TokenType.ON else None)
