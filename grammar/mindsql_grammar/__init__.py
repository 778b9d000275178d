"""The grammar of MindSQL: text to statements, statements to text. It knows no catalog, engine or database."""

from mindsql_grammar.dialect import MindSQL
from mindsql_grammar.errors import ParseError
from mindsql_grammar.lexer import parameters, string_value
from mindsql_grammar.manual import section, sections
from mindsql_grammar.parser import parse, parse_one, parse_query
from mindsql_grammar.query import NATIVE_PREFIX
from mindsql_grammar.splitter import Piece, has_more_than, is_complete, split
from mindsql_grammar.statements import (
    CreateDatabase,
    CreateEngine,
    CreateModel,
    CreateProject,
    CreateView,
    Deallocate,
    Describe,
    Drop,
    DuckDB,
    Env,
    Evaluate,
    Execute,
    Explain,
    Finetune,
    Name,
    Native,
    Option,
    Parameter,
    Prepare,
    Query,
    Retrain,
    Rows,
    SetActive,
    Show,
    Span,
    Statement,
    Use,
    Value,
    Write,
)
from mindsql_grammar.suggest import suggest_verb
from mindsql_grammar.verbatim import parenthesised
from mindsql_grammar.words import KEYWORDS, nearest, quote, quote_name
from mindsql_grammar.writer import to_sql
from mindsql_grammar.writes import parse_write

__all__ = [
    "KEYWORDS",
    "NATIVE_PREFIX",
    "CreateDatabase",
    "CreateEngine",
    "CreateModel",
    "CreateProject",
    "CreateView",
    "Deallocate",
    "Describe",
    "Drop",
    "DuckDB",
    "Env",
    "Evaluate",
    "Execute",
    "Explain",
    "Finetune",
    "MindSQL",
    "Name",
    "Native",
    "Option",
    "Parameter",
    "ParseError",
    "Piece",
    "Prepare",
    "Query",
    "Retrain",
    "Rows",
    "SetActive",
    "Show",
    "Span",
    "Statement",
    "Use",
    "Value",
    "Write",
    "has_more_than",
    "is_complete",
    "nearest",
    "parameters",
    "parenthesised",
    "parse",
    "parse_one",
    "parse_query",
    "parse_write",
    "quote",
    "quote_name",
    "section",
    "sections",
    "split",
    "string_value",
    "suggest_verb",
    "to_sql",
]
