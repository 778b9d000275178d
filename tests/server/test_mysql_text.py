"""What is read from the text of a MySQL client, and what becomes of it."""

from __future__ import annotations

import time

import pytest

from mindsql.server.mysql.errors import MySQLError
from mindsql.server.mysql.lexer import normalized, placeholders, replaced, tokens


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT a FROM t LIMIT 5, 10", "SELECT a FROM t OFFSET 5 LIMIT 10"),
        ("SELECT a FROM t LIMIT 5,10", "SELECT a FROM t OFFSET 5 LIMIT 10"),
        ("SELECT a FROM t limit ?, ?", "SELECT a FROM t OFFSET ? LIMIT ?"),
        ("SELECT a FROM t LIMIT 18446744073709551615", "SELECT a FROM t LIMIT 9223372036854775807"),
        ("SELECT [x for x in l LIMIT] FROM t", "SELECT [x for x in l LIMIT] FROM t"),
        ("SELECT 'LIMIT 5, 10' -- LIMIT 5, 10", "SELECT 'LIMIT 5, 10' -- LIMIT 5, 10"),
        ("SELECT 1 FROM DUAL WHERE 1", "SELECT 1     WHERE 1"),
        ("SELECT dual FROM t", "SELECT dual FROM t"),
        ("/*!40101 SET NAMES utf8 */", "  SET NAMES utf8  "),
        ("/*!99999 x */ /*M!1 y */ SELECT 1", "  /*M!1 y */ SELECT 1"),
        ("SELECT $$ /*!1 # ' $$, #1 # end", "SELECT $$ /*!1 # ' $$, #1 -- end"),
        (r"SELECT _binary'a\'\\\0b'", r"SELECT '\x61\x27\x5C\x00\x62'::BLOB"),
        ("SELECT '\udcff''x'", r"SELECT '\xFF\x27\x78'::BLOB"),
        ("SELECT 'open x''", "SELECT 'open x''"),
        ("SELECT _binary'open\\'", "SELECT _binary'open\\'"),
        ("SELECT E'it\\'s # no comment'", "SELECT E'it\\'s # no comment'"),
    ],
)
def test_text_in_duckdbs_dialect(written: str, meant: str) -> None:
    assert normalized(written) == meant


def test_backslashes_are_taken_out_when_they_escape() -> None:
    assert (
        normalized(r"SELECT 'it\'s', '\\', 'a''b\n\%'", backslashes=True) == "SELECT 'it''s', '\\', 'a''b\n%'"
    )


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(MySQLError, match="character set"):
        normalized("SELECT \udcff")


def test_placeholders() -> None:
    assert placeholders("SELECT ?, '?', \"?\", `?`, $$?$$ /* ? */ -- ?\n, ?") == 2


def test_replaced_items_keep_their_names() -> None:
    def change(token: object, following: object) -> str | None:
        return "7" if getattr(token, "text", "").startswith("@@") else None

    text = "SELECT @@a, f(@@b), @@c AS c, '@@d' FROM t WHERE a IN (1, @@e, 2) ORDER BY @@f, @@g"
    expected = "SELECT 7 AS \"@@a\", f(7), 7 AS c, '@@d' FROM t WHERE a IN (1, 7, 2) ORDER BY 7, 7"
    assert replaced(text, change) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "part", ["/*", "/*!", "$a$ ", "$a", "'", "\\'", "`", "_binary'", "E'", "(", "@@a,", "limit 1,"]
)
def test_a_text_is_read_once_however_it_is_made(part: str) -> None:
    """Four times the text may take little more than four times as long."""

    def seconds(times: int) -> float:
        text = "SELECT " + part * times
        began = time.thread_time()
        normalized(text, backslashes=True)
        replaced(text, lambda token, following: "1" if token.kind == "variable" else None)
        assert "".join(token.text for token in tokens(text)) == text
        return time.thread_time() - began

    # The least of three: the processor is others' too.
    assert min(seconds(40000) for _ in range(3)) < 12 * min(seconds(10000) for _ in range(3)) + 0.2
