"""The prompt, on a real terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.document import Document

from mindsql.repl.highlight import MindSQLLexer
from mindsql.repl.history import redact

ENDLESS = "SELECT count(*) FROM range(1000000000000) t(i) WHERE hash(i) = 7;"
UP, TAB, CTRL_C, CTRL_D = "\x1b[A", "\t", "\x03", "\x04"


def test_a_statement_ends_at_its_semicolon(terminal: Any) -> None:
    at = terminal()
    at.type("SELECT 6 * 7 AS answer,\r")
    at.type("'a;b' AS text\r")
    at.wait("...> 'a;b' AS text")
    at.type(";\r")
    at.wait("│ answer │ text │", "│     42 │ a;b  │", "1 row, 2 columns")


def test_ctrl_c_stops_the_statement_and_keeps_the_session(terminal: Any) -> None:
    at = terminal()
    at.type("CREATE TABLE kept AS SELECT 5 AS x;\r")
    at.wait("done\nmindsql>")
    at.type(ENDLESS + "\r")
    at.started()
    at.type(CTRL_C)
    at.wait("error [CANCELLED]")
    at.type("FROM kept;\r")
    at.wait("│ 5 │")


def test_ctrl_c_clears_the_line_and_ctrl_d_leaves(terminal: Any) -> None:
    at = terminal()
    at.type("SELECT nonsense")
    at.wait("SELECT nonsense")
    at.type(CTRL_C)
    at.clear()
    at.type("SELECT 'on';\r")
    at.wait("│ on   │")
    at.type(CTRL_D)
    assert at.end() == 0


def test_dot_commands(terminal: Any, tmp_path: Path) -> None:
    (tmp_path / "two.sql").write_text("SELECT 1 AS one;\nSELEC 2;")
    at = terminal()
    at.type(".help\r")
    for name in ["help", "tables", "models", "schema", "mode", "timer", "read", "output", "explain", "quit"]:
        at.wait(f".{name}")
    at.clear()
    at.type(".help retrain\r")
    at.wait("RETRAIN rent USING n_estimators = 100;")
    at.clear()
    at.type("CREATE TABLE houses (size INTEGER);\r")
    at.type(".tables\r")
    at.wait("│ main   │ houses │ table │")
    at.type(".schema houses\r")
    at.wait("CREATE TABLE houses(size INTEGER);")
    at.type(".models\r")
    at.wait("0 rows")
    at.clear()
    at.type(".mode json\r.timer on\r.read two.sql\r")
    at.wait('{"one": 1}', "time: ", "two.sql:2:1: error [")
    at.type(".output out.json\rSELECT 2 AS two;\r.output\r.mode nonsense\r")
    at.wait('unknown format "nonsense"')
    assert (tmp_path / "out.json").read_text() == '[\n{"two": 2}\n]\n'
    at.type(".explain SELECT 1\r")
    at.type(".nonsense\r")
    at.wait("1", 'unknown command ".nonsense"')
    at.type(".quit\r")
    assert at.end() == 0


def test_completion_of_tables_and_columns(terminal: Any) -> None:
    at = terminal()
    at.type("CREATE TABLE houses (sqft INTEGER);\r")
    at.wait("done\nmindsql>")
    at.type("SELECT * FROM hou")
    at.press_until(TAB, "FROM houses")
    at.type(" h WHERE h.")
    at.press_until(TAB, "FROM houses h WHERE h.sqft")


def test_history_comes_back_without_secrets(terminal: Any, environment: dict[str, str]) -> None:
    at = terminal()
    at.type("SELECT 'first';\r")
    at.wait("│ first")
    at.type("CREATE ML_ENGINE e FROM sklearn USING api_key = 'hush';\r")
    at.wait("error [")
    at.type(CTRL_D)
    at.end()
    history = Path(environment["MINDSQL_HISTORY"])
    assert "hush" not in history.read_text() and history.stat().st_mode & 0o077 == 0
    again = terminal()
    again.type(UP + UP)
    again.wait("mindsql> SELECT 'first';")


def test_our_keywords_are_coloured() -> None:
    lex = MindSQLLexer(lambda: frozenset({"MODEL", "PREDICT"})).lex_document
    keywords = {
        text for style, text, *_ in lex(Document("CREATE MODEL m\nPREDICT y"))(1) if "keyword" in style
    }
    assert keywords == {"PREDICT"}
    assert lex(Document(".mode json"))(0)[0] == ("class:pygments.keyword", ".mode")


@pytest.mark.parametrize(
    ("entered", "kept"),
    [
        ("SELECT token, max_tokens FROM t", "SELECT token, max_tokens FROM t"),
        ("… USING api_key = 'a''b', x = 1", "… USING api_key = '***', x = 1"),
        ("… USING openai_api_key='unclosed, x = 1", "… USING openai_api_key='***'"),
        ("… USING api_key = env('KEY')", "… USING api_key = env('KEY')"),
        ('PARAMETERS = {"password": "p", "port": 1}', 'PARAMETERS = {"password": \'***\', "port": 1}'),
        (
            "CREATE SECRET (TYPE s3, KEY_ID 'k', SECRET 's')",
            "CREATE SECRET (TYPE s3, KEY_ID '***', SECRET '***')",
        ),
        ("ATTACH 'host=h password=p user=u' AS pg", "ATTACH 'host=h password='***' user=u' AS pg"),
        ("ATTACH 'postgresql://u:p@h/db'", "ATTACH 'postgresql://u:***@h/db'"),
        ("… USING token = $$a;b$$", "… USING token = '***'"),
        ('… USING credentials = {"a": "b"}', None),
    ],
)
def test_secrets_are_redacted(entered: str, kept: str | None) -> None:
    assert redact(entered) == kept
