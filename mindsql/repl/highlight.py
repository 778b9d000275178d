"""Owns the colours of the prompt: pygments' SQL, with our own words and the dot-commands."""

from __future__ import annotations

import re
from collections.abc import Callable

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer, PygmentsLexer
from pygments.lexers.sql import SqlLexer  # type: ignore[import-untyped]

_KEYWORD = "class:pygments.keyword"
_NAME = re.compile(r"class:pygments\.name\s*")
_DOT = re.compile(r"(\s*\.[a-z]+)(.*)", re.DOTALL)


class MindSQLLexer(Lexer):
    """Colours a text as pygments does, and words of our own as keywords.

    Args:
        words: Gives our keywords, upper case; it may know none yet.
    """

    def __init__(self, words: Callable[[], frozenset[str]]) -> None:
        self._words = words
        self._sql = PygmentsLexer(SqlLexer, sync_from_start=True)

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        sql, words = self._sql.lex_document(document), self._words()

        def line(number: int) -> StyleAndTextTuples:
            if number == 0 and (command := _DOT.match(document.lines[0])):
                return [(_KEYWORD, command[1]), ("", command[2])]
            return [
                (_KEYWORD if part[1].upper() in words and _NAME.fullmatch(part[0]) else part[0], part[1])
                for part in sql(number)
            ]

        return line
