"""Owns the finding of `FROM source (native text)`: the text that is not ours to read is blanked out before
the tokenizer sees it, so that it may be written in any language that closes its parentheses."""

from __future__ import annotations

import re

from mindsql_grammar.splitter import close_paren, skip_blank
from mindsql_grammar.words import word_set

_COMMAND = re.compile(
    r"(?:EXPLAIN\s+(?:ANALYZE\s+)?)?"
    r"(?:CREATE\s+(?:OR\s+REPLACE\s+)?(?:MODEL|PREDICTOR|ANOMALY|(?P<view>VIEW))|RETRAIN|FINETUNE|EVALUATE)\b",
    re.IGNORECASE,
)
# The first words of a text that is a query. Those of the second group may be names too: a word must follow.
_QUERY = re.compile(
    r"(?:SELECT|WITH|FROM)\b|VALUES\s*\("
    r"|(?:TABLE|SHOW|DESCRIBE|DESC|EXPLAIN|SUMMARIZE|PRAGMA|CALL|EXEC|EXECUTE|INSERT|UPDATE|DELETE|MERGE"
    r"|PIVOT|UNPIVOT|DECLARE|USE|SET)\s+[\w\"'`\[@]",
    re.IGNORECASE,
)
_MAYBE = re.compile(
    r"[\w\"`]\s*+(?:--[^\n]*+\n\s*+|/\*(?:[^*]++|\*(?!/))*+\*/\s*+)*+\("
    r"\s*(?:(?:--|/\*)|(?:SELECT|WITH|FROM|VALUES|TABLE|SHOW|DESC|EXPLAIN|SUMMARIZE|PRAGMA|CALL|EXEC|INSERT"
    r"|UPDATE|DELETE|MERGE|PIVOT|UNPIVOT|DECLARE|USE|SET))",
    re.IGNORECASE | re.DOTALL,
)
_LEXEME = re.compile(
    r"""(?P<skip>\s+|--[^\n\r]*|/\*|(?<![\w$])[eE]'(?:[^'\\]+|''|\\.)*(?:'|\Z)|'[^']*(?:'|\Z)
          |(?<![\w$])(?P<dollar>\$(?:[^\W\d]\w*)?\$).*?(?:(?P=dollar)|\Z))
      |(?P<quoted>"[^"]*(?:"|\Z)|`[^`]*(?:`|\Z))
      |(?P<word>\w[\w$]*)
      |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
# Words that end the list of relations of a SELECT.
_ENDS_FROM = word_set(
    "SELECT WHERE GROUP ORDER HAVING QUALIFY LIMIT OFFSET WINDOW UNION EXCEPT INTERSECT SET RETURNING "
    "VALUES INTO PREDICT HORIZON"
)
# Words that stand before a parenthesis after FROM, JOIN or a comma, and name no source.
_NO_SOURCE = word_set(
    "LATERAL ANY ALL SOME EXISTS ARRAY NOT IN SELECT VALUES AS ON USING ONLY MAP UNNEST TABLE "
    "PIVOT PIVOT_WIDER PIVOT_LONGER UNPIVOT DESCRIBE SHOW SUMMARIZE"
)

Natives = dict[int, int]
"""The offset of each native text's `(` to the offset of its `)`."""


def find(text: str) -> Natives:
    """The parentheses in `text` that hold native text."""
    command = _COMMAND.match(text)
    if command is None and _MAYBE.search(text) is None:
        return {}
    return _Finder(text, command).run()


def blank(text: str, natives: Natives) -> str:
    """`text` with spaces for the native texts; all offsets stay."""
    for opening, closing in natives.items():
        text = text[: opening + 1] + " " * (closing - opening - 1) + text[closing:]
    return text


class _Finder:
    """One walk over the words of a statement that knows, for each depth, whether it is in a FROM list."""

    def __init__(self, text: str, command: re.Match[str] | None) -> None:
        self.text = text
        self.position = command.end() if command else 0
        self.always = command is not None  # FROM name ( at depth 0 is native, whatever it holds
        self.view = command is not None and command.group("view") is not None
        self.in_from = [False]
        self.expect = False  # a relation may start here
        self.name: str | None = None  # the last part of the relation's name, when one was just read
        self.dotted = False
        self.found: Natives = {}

    def run(self) -> Natives:
        text = self.text
        while self.position < len(text):
            match = _LEXEME.match(text, self.position)
            assert match is not None
            kind = match.lastgroup
            if kind == "skip" or kind == "dollar":
                if match.group() == "/*":
                    self.position = skip_blank(text, match.start())
                else:
                    self.position = match.end()
                continue
            self.position = match.end()
            if kind == "word":
                self._word(match.group())
            elif kind == "quoted":
                self._part(match.group())
            else:
                self._other(match.group(), match.start())
        return self.found

    def _part(self, name: str) -> None:
        if self.expect or self.dotted:
            self.name, self.expect, self.dotted = name, False, False
        else:
            self.name = None

    def _word(self, word: str) -> None:
        upper = word.upper()
        if self.dotted:
            self._part(word)
        elif upper in ("FROM", "JOIN"):
            self.in_from[-1] = self.expect = True
            self.name = None
        elif self.view and self.always and len(self.in_from) == 1 and upper == "AS":
            self.always = self.name is not None  # CREATE VIEW v FROM source AS (native)
        elif upper in _ENDS_FROM:
            self.in_from[-1] = self.expect = False
            self.name = None
        elif upper in _NO_SOURCE:
            self.name = None
        else:
            self._part(word)

    def _other(self, char: str, start: int) -> None:
        name, self.name, dotted, self.dotted = self.name, None, self.dotted, False
        if char == ".":
            self.dotted, self.name = name is not None, name
        elif char == ",":
            self.expect = self.in_from[-1]
        elif char == ")":
            if len(self.in_from) > 1:
                self.in_from.pop()
            self.expect = False
        elif char == "(":
            if name is not None and not dotted and self._is_native(start):
                closing = close_paren(self.text, start)
                if closing is not None:
                    self.found[start] = closing
                    self.position = closing + 1
                    return
            self.in_from.append(self.expect)
        else:
            self.expect = False

    def _is_native(self, opening: int) -> bool:
        if self.always and len(self.in_from) == 1:
            return True
        return _QUERY.match(self.text, skip_blank(self.text, opening + 1)) is not None
