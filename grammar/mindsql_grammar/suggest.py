"""Owns the guess at what a misspelt statement of ours was meant to be."""

from __future__ import annotations

from mindsql_grammar.errors import ParseError
from mindsql_grammar.splitter import leading_words
from mindsql_grammar.words import DUCKDB_OBJECTS, DUCKDB_VERBS, OUR_VERBS, QUERY_VERBS, nearest

_CREATED = ("MODEL", "PREDICTOR", "ANOMALY DETECTION MODEL", "ML_ENGINE", "PROJECT", "DATABASE")
_OBJECTS = {
    "CREATE": _CREATED,
    "CREATE OR REPLACE": ("MODEL", "PREDICTOR", "DATABASE"),
    "DROP": ("MODEL", "PREDICTOR", "ML_ENGINE", "PROJECT", "DATABASE"),
    "SHOW": ("MODELS", "LOADED MODELS", "PREDICTORS", "ML_ENGINES", "HANDLERS", "ESTIMATORS", "DATABASES", "PROJECTS"),
    "DESCRIBE": ("MODEL", "PREDICTOR", "ML_ENGINE", "HANDLER", "ESTIMATOR", "PROJECT"),
}
_ALONE = ("RETRAIN", "FINETUNE", "EVALUATE")
_TWO_WORDS = {
    ("ML", "ENGINE"): "ML_ENGINE",
    ("ML", "ENGINES"): "ML_ENGINES",
    ("FINE", "TUNE"): "FINETUNE",
    ("RE", "TRAIN"): "RETRAIN",
}
_MORE_OBJECTS = (
    *DUCKDB_OBJECTS,
    "VIEW",
    "TABLES",
    "VIEWS",
    "VARIABLES",
    "SCHEMAS",
    "TEMP",
    "TEMPORARY",
    "OR",
)
"""Words that are right after CREATE, DROP, SHOW or DESCRIBE, but not ours."""


def suggest_verb(text: str) -> ParseError | None:
    """The error for a statement that DuckDB could not read, if it looks like a misspelt one of ours.

    Args:
        text: One statement.

    Returns:
        The error, with the misspelt words as its span and what was probably meant as its hint.
    """
    return misspelt(text, text, 0)


def misspelt(whole: str, text: str, base: int) -> ParseError | None:
    """As `suggest_verb`, for the statement `text` at `base` in `whole`."""
    words = leading_words(text, 4)
    if not words:
        return None
    pair = (words[0][0], words[1][0]) if len(words) > 1 else ("", "")
    if pair in _TWO_WORDS:
        return _error(whole, text, base, words[0][1], words[1][2], _TWO_WORDS[pair])
    first = words[0][0]
    if first in _ALONE:
        return None
    verb = first if first in _OBJECTS else nearest(first, _OBJECTS)
    rest = words[1:]
    if verb == "CREATE" and [w[0] for w in rest[:2]] == ["OR", "REPLACE"]:
        rest, verb = words[3:] or leading_words(text, 5)[3:], "CREATE OR REPLACE"
    if verb is not None and rest:
        found = _object(whole, text, base, words[0], verb, rest)
        if found is not None:
            return found
    if first in _OBJECTS:
        return None
    alone = nearest(first, (*_ALONE, "DESCRIBE"))
    if alone is not None and first not in QUERY_VERBS | DUCKDB_VERBS | OUR_VERBS:
        return _error(whole, text, base, words[0][1], words[0][2], alone)
    if first not in QUERY_VERBS | DUCKDB_VERBS | OUR_VERBS:
        near = nearest(first, sorted(QUERY_VERBS | DUCKDB_VERBS))
        return _error(whole, text, base, words[0][1], words[0][2], near) if near is not None else None
    return None


def unknown_verb(whole: str, text: str, base: int, at: int = 0) -> ParseError:
    """The error for a statement whose word number `at` is none that can stand there."""
    words = leading_words(text, at + 1)
    if len(words) <= at:
        if at and words:
            start, end = words[-1][1], words[-1][2]
            message = f"expected what to {words[0][0].lower()} after {words[0][0]}"
            return ParseError(message, (base + end, base + end), whole, _choices(words[0][0]))
        written = text.split(maxsplit=1)[0][:20]
        start, end = 0, len(written)
        return ParseError(f"'{written}' does not begin a statement", (base, base + end), whole)
    word, start, end = words[at]
    written = text[start:end]
    if at:
        verb = words[0][0]
        return ParseError(
            f"{verb} does not know '{written}'", (base + start, base + end), whole, _choices(verb)
        )
    near = nearest(word, sorted(OUR_VERBS | QUERY_VERBS | DUCKDB_VERBS | set(_ALONE)))
    hint = f"did you mean {near}?" if near else None
    return ParseError(f"'{written}' does not begin a statement", (base + start, base + end), whole, hint)


def _object(
    whole: str, text: str, base: int, first: tuple[str, int, int], verb: str, rest: list[tuple[str, int, int]]
) -> ParseError | None:
    """The error when the words after `verb` are one of its objects, or nearly."""
    word, start, end = rest[0]
    objects = _OBJECTS[verb]
    if len(rest) > 1 and (word, rest[1][0]) in _TWO_WORDS:
        meant = _TWO_WORDS[(word, rest[1][0])]
        if meant in objects:
            return _error(whole, text, base, start, rest[1][2], meant)
    if word in _MORE_OBJECTS:
        return None
    singles = {name.split()[0]: name for name in objects}
    near = word if word in singles else nearest(word, (*singles, *_MORE_OBJECTS))
    if near not in singles:
        return None
    if near == "ANOMALY" and (len(rest) < 2 or nearest(rest[1][0], ("DETECTION",)) is None):
        return None
    right_verb = first[0] == verb.split()[0]
    if near == word:
        return None if right_verb else _error(whole, text, base, first[1], first[2], verb.split()[0])
    if right_verb:
        return _error(whole, text, base, start, end, near)
    return _error(whole, text, base, first[1], end, f"{verb} {near}")


def _error(whole: str, text: str, base: int, start: int, end: int, meant: str) -> ParseError:
    return ParseError(
        f"unknown word '{text[start:end]}'", (base + start, base + end), whole, f"did you mean {meant}?"
    )


def _choices(verb: str) -> str | None:
    objects = _OBJECTS.get(verb)
    return f"{verb} knows {', '.join(objects)} and DuckDB's own" if objects else None
