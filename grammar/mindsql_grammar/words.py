"""Owns the words of our own grammar, and what is near to a misspelt one."""

from __future__ import annotations

import re
from collections.abc import Iterable


def word_set(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


KEYWORDS: tuple[str, ...] = tuple(
    sorted(
        word_set(
            "ACTIVE ANALYZE ANOMALY AS BY CREATE DATABASE DATABASES DEALLOCATE DESCRIBE DETECTION DROP ENGINE "
            "ESTIMATOR ESTIMATORS EVALUATE EXECUTE EXECUTOR EXISTS EXPLAIN FINETUNE FOR FROM GROUP HANDLER HANDLERS "
            "HORIZON IF LIKE LOADED ML_ENGINE ML_ENGINES MODEL MODELS NOT OR ORDER PARAMETERS PREDICT PREDICTOR "
            "PREDICTORS PREPARE PROJECT PROJECTS REPLACE RESET RETRAIN SELECT SET SHOW TABLES TO USE USING VIEW VIEWS "
            "WHERE WINDOW WITH"
        )
    )
)
"""The words of our own grammar, upper case, for completion and highlighting."""

QUERY_VERBS = word_set(
    "SELECT WITH FROM VALUES TABLE PIVOT UNPIVOT INSERT UPDATE DELETE MERGE PIVOT_WIDER PIVOT_LONGER"
)
DUCKDB_VERBS = word_set(
    "PRAGMA ATTACH DETACH BEGIN START COMMIT ROLLBACK ABORT END CALL VACUUM CHECKPOINT FORCE "
    "INSTALL LOAD EXPORT IMPORT ANALYZE ALTER COMMENT SUMMARIZE TRUNCATE"
)
DUCKDB_OBJECTS = word_set("TABLE INDEX SCHEMA TYPE MACRO SEQUENCE FUNCTION SECRET TRIGGER")
OUR_VERBS = word_set(
    "CREATE DROP RETRAIN FINETUNE EVALUATE DESCRIBE DESC SHOW SET RESET USE EXPLAIN COPY PREPARE EXECUTE DEALLOCATE"
)
SHOWN = ("models", "loaded models", "ml_engines", "handlers", "estimators", "databases", "projects", "tables", "views")
DESCRIBED = ("model", "ml_engine", "handler", "estimator", "database", "project", "view")
DROPPED = ("model", "ml_engine", "project", "database", "view")

# Words of DuckDB that may not be a column or table name without quotes.
RESERVED = word_set(
    "ALL ANALYSE ANALYZE AND ANTI ANY ARRAY AS ASC ASOF ASYMMETRIC AT AUTHORIZATION BINARY BOTH BY "
    "CASE CAST CHECK COLLATE COLLATION COLUMN CONCURRENTLY CONSTRAINT CREATE CROSS DEFAULT DEFERRABLE "
    "DESC DESCRIBE DISTINCT DO ELSE END EXCEPT FALSE FETCH FOR FOREIGN FREEZE FROM FULL GLOB GROUP "
    "HAVING ILIKE IN INITIALLY INNER INTERSECT INTO IS ISNULL JOIN LAMBDA LATERAL LEADING LEFT LIKE "
    "LIMIT NATURAL NOT NOTNULL NULL OFFSET ON ONLY OR ORDER OUTER OVERLAPS PIVOT PIVOT_LONGER "
    "PIVOT_WIDER PLACING POSITIONAL PRIMARY QUALIFY REFERENCES RETURNING RIGHT SELECT SEMI SHOW "
    "SIMILAR SOME SUMMARIZE SYMMETRIC TABLE TABLESAMPLE THEN TO TRAILING TRUE UNION UNIQUE UNPACK "
    "UNPIVOT USING VARIADIC VERBOSE WHEN WHERE WINDOW WITH"
)
# Words that DuckDB takes as names, but sqlglot does not.
_MORE_QUOTED = word_set("BETWEEN EXISTS GRANT")
# Words that begin a clause of ours: as a name they would be read as the clause.
_OURS = word_set("PREDICT HORIZON MODEL IF")
_PLAIN_NAME = re.compile(r"[^\W\d]\w*")


def quote(part: str) -> str:
    """`part` of a name as it must be written: in double quotes only where it needs them."""
    if _PLAIN_NAME.fullmatch(part) and part.upper() not in RESERVED | _MORE_QUOTED:
        return part
    return '"' + part.replace('"', '""') + '"'


def quote_name(name: Iterable[str]) -> str:
    """A dotted name as it must be written."""
    return ".".join(quote(part) for part in name)


def quote_command_name(name: Iterable[str]) -> str:
    """A name where a clause of ours could also stand: words such as PREDICT are quoted too."""
    return ".".join('"' + part + '"' if part.upper() in _OURS else quote(part) for part in name)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that `word` most probably means; None when none is near."""
    best, best_distance = None, 3
    upper = word.upper()
    for choice in choices:
        if abs(len(choice) - len(upper)) > 2:
            continue
        distance = _distance(upper, choice.upper())
        # One slip per three letters, two at most: SHWO is SHOW, MODE is MODEL, LOAD is not DROP.
        if distance < best_distance and distance <= max(1, min(2, len(upper) // 3)):
            best, best_distance = choice, distance
    return best


def _distance(a: str, b: str) -> int:
    """How many letters must be changed, added, dropped or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, right in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
