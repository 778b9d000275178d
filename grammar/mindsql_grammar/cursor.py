"""Owns the place in a statement's tokens: looking, taking, and the error at a token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from sqlglot import Token, TokenType

from mindsql_grammar.errors import ParseError
from mindsql_grammar.lexer import Source, is_word
from mindsql_grammar.statements import Name, Span
from mindsql_grammar.words import nearest


class Cursor:
    """A position in the tokens of one statement.

    Args:
        source: The statement's text.
        tokens: Its tokens.
        index: Where to start.
        end: Where to stop, the number of tokens when not given.
    """

    def __init__(self, source: Source, tokens: list[Token], index: int = 0, end: int | None = None) -> None:
        self.source = source
        self.tokens = tokens
        self.index = index
        self.end = len(tokens) if end is None else end

    def done(self) -> bool:
        """Whether all tokens are taken."""
        return self.index >= self.end

    def peek(self, ahead: int = 0) -> Token | None:
        """The token `ahead` of the next one, None at the end."""
        at = self.index + ahead
        return self.tokens[at] if at < self.end else None

    def word(self, ahead: int = 0) -> str:
        """The bare word `ahead` in upper case, `""` when it is none; `ORDER BY` is one word."""
        token = self.peek(ahead)
        return token.text.upper() if token is not None and is_word(token) else ""

    def kind(self, ahead: int = 0) -> TokenType | None:
        """The type of the token `ahead`."""
        token = self.peek(ahead)
        return None if token is None else token.token_type

    def accept(self, *words: str) -> bool:
        """Take these words if all of them come next."""
        for ahead, word in enumerate(words):
            if self.word(ahead) != word:
                return False
        self.index += len(words)
        return True

    def accept_kind(self, kind: TokenType) -> bool:
        """Take the next token if it is of this type."""
        if self.kind() is not kind:
            return False
        self.index += 1
        return True

    def expect(self, word: str, after: str) -> None:
        """Take this word, which must follow `after`."""
        if not self.accept(word):
            self.fail(f"expected {word} after {after}", [word])

    def take(self) -> Token:
        """Take the next token, whatever it is."""
        token = self.tokens[self.index]
        self.index += 1
        return token

    def found(self) -> str:
        """What comes next, for an error."""
        token = self.peek()
        if token is None:
            return "the end of the statement" if self.end == len(self.tokens) else f"'{self._closing()}'"
        text = self.text(token)
        return text if text[0] in "'\"`" else f"'{text}'"

    def text(self, token: Token) -> str:
        """A token as it was written."""
        return self.source.text[token.start : token.end + 1]

    def fail(self, expected: str, choices: Iterable[str] = (), hint: str | None = None) -> NoReturn:
        """Raise the error that `expected` is not what comes next."""
        raise self.error(f"{expected}, found {self.found()}", choices=choices, hint=hint)

    def error(
        self,
        message: str,
        token: Token | None = None,
        choices: Iterable[str] = (),
        hint: str | None = None,
    ) -> ParseError:
        """An error at `token`, or at the next token; the nearest of `choices` becomes the hint."""
        culprit = token or self.peek()
        if culprit is None:
            last = self.tokens[self.end - 1] if self.end else None
            end = last.end + 1 if last is not None else 0
            return self.source.error(message, end, end, hint)
        if is_word(culprit):
            near = nearest(culprit.text, choices)
            if near is not None and near != culprit.text.upper():
                hint = f"did you mean {near}?"
        return self.source.error(message, culprit.start, culprit.end + 1, hint)

    def span(self, start: int, end: int) -> Span:
        """The span from token `start` up to, not including, token `end`."""
        base = self.source.base
        if start >= end:
            at = base + (self.tokens[start].start if start < len(self.tokens) else len(self.source.text))
            return Span(at, at)
        return Span(base + self.tokens[start].start, base + self.tokens[end - 1].end + 1)

    def name_part(self, what: str) -> str:
        """Take one part of a name: a word or a quoted identifier."""
        token = self.peek()
        if token is None or not (is_word(token) or token.token_type is TokenType.IDENTIFIER):
            self.fail(f"expected {what}")
        part = self.take()
        if not part.text:
            raise self.error(f"expected {what}, found an empty name", part)
        return part.text

    def name(self, what: str) -> Name:
        """Take a dotted name."""
        parts = [self.name_part(what)]
        while self.accept_kind(TokenType.DOT):
            parts.append(self.name_part(f"a name after '{parts[-1]}.'"))
        return tuple(parts)

    def single_name(self, what: str) -> str:
        """Take a name that has one part."""
        start = self.index
        name = self.name(what)
        if len(name) > 1:
            raise self.error(f"{what} has one part, found '{'.'.join(name)}'", self.tokens[start])
        return name[0]

    def finish(self, what: str, choices: Iterable[str] = ()) -> None:
        """All tokens must be taken."""
        if not self.done():
            self.fail(f"expected the end of {what}", choices)

    def closing(self, opening: int) -> int:
        """The index of the token that closes the parenthesis at `opening`."""
        depth = 0
        for index in range(opening, self.end):
            kind = self.tokens[index].token_type
            if kind is TokenType.L_PAREN:
                depth += 1
            elif kind is TokenType.R_PAREN:
                depth -= 1
                if depth == 0:
                    return index
        raise self.error("this parenthesis is never closed", self.tokens[opening])

    def _closing(self) -> str:
        return self.text(self.tokens[self.end])
