"""The README, the EBNF and the corpus know every statement."""

from __future__ import annotations

import re

import grammar_corpus as corpus
import pytest

import mindsql_grammar
from mindsql_grammar import KEYWORDS, Statement, parse, parse_one, section, to_sql

README = (corpus.GRAMMAR / "README.md").read_text(encoding="utf-8")
EBNF = (corpus.GRAMMAR / "mindsql.ebnf").read_text(encoding="utf-8")
RULES = re.sub(
    r"\(\*.*?\*\)|\?.*?\?(?=\s*[;|,)]|\s*$)", "", EBNF.replace('"?"', '"Q"'), flags=re.DOTALL | re.MULTILINE
)
CLASSES = Statement.__subclasses__()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def _snake(name: str) -> str:
    return "duckdb" if name == "DuckDB" else re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_statement_is_documented(cls: type[Statement]) -> None:
    name = cls.__name__
    section = re.search(rf"^### [^\n]*`{name}`$(.*?)(?=^##|\Z)", README, re.DOTALL | re.MULTILINE)
    assert section is not None, f"grammar/README.md has no section for {name}"
    examples = re.findall(r"```sql\n(.*?)```", section[1], re.DOTALL)
    assert any(type(s) is cls for text in examples for s in parse(text)), f"no example of {name}"
    assert re.search(rf"^{_snake(name)}\s*=", EBNF, re.MULTILINE), f"no rule for {name}"
    assert any(type(parse_one(text)) is cls for text in corpus.lines("identity.sql")), (
        f"no corpus line for {name}"
    )
    assert name in mindsql_grammar.__all__


@pytest.mark.parametrize("text", [body for language, body in BLOCKS if language == "sql"])
def test_the_examples_are_canonical_enough_to_come_back(text: str) -> None:
    for statement in parse(text):
        assert parse_one(to_sql(statement)) == statement


@pytest.mark.parametrize("text", [body for language, body in BLOCKS if language == "python"])
def test_the_python_examples_run(text: str) -> None:
    exec(compile(text, "grammar/README.md", "exec"), {})


def test_every_name_in_the_ebnf_has_a_rule() -> None:
    defined = re.findall(r"^(\w+)\s*=", RULES, re.MULTILINE)
    assert len(defined) == len(set(defined))
    used = set(re.findall(r"\b[a-z_]+\b", re.sub(r'"[^"]*"', "", RULES)))
    assert used - set(defined) == set()
    assert set(defined) - used == set()
    assert EBNF.count(";\n") >= len(defined)


def test_the_keywords_are_those_of_the_ebnf() -> None:
    words = set(re.findall(r'"([A-Z_]+)"', RULES))
    # Words of values and of DuckDB's expressions are no keywords of ours.
    assert words - set(KEYWORDS) == {
        "TRUE",
        "FALSE",
        "NULL",
        "ENV",
        "IN",
        "DESC",
        "ASC",
        "NULLS",
        "FIRST",
        "LAST",
        "Q",
    }
    assert set(KEYWORDS) - words == {"SELECT"}
    assert list(KEYWORDS) == sorted(set(KEYWORDS))


def test_the_public_names_exist() -> None:
    assert sorted(mindsql_grammar.__all__) == sorted(set(mindsql_grammar.__all__))
    for name in mindsql_grammar.__all__:
        assert getattr(mindsql_grammar, name) is not None


@pytest.mark.parametrize("words", ["create model", "CREATE MODEL m", "Retrain", "set active", "SHOW"])
def test_the_manual_has_a_section_on_each_statement(words: str) -> None:
    found = section(words)
    assert found is not None
    heading, text = found
    assert words.upper().startswith(heading.upper())
    assert "`" not in text and any(line.startswith("    ") and ";" in line for line in text.splitlines())
    assert section("FLY") is None
