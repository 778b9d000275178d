"""Where the options of a server come from beside the command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from mindsql.server import cli, configuration


def parsed(arguments: list[str], environment: dict[str, str]) -> argparse.Namespace:
    return configuration.parse(cli._parser(), arguments, environment)


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    lines = ["max-rows = 1", "sessions = 2", "workers = 3", 'allow_host = ["a", "b"]', "no-mysql = true"]
    file.write_text("\n".join([*lines, 'max-body = "1MB"']))
    found = parsed(["--config", str(file), "--workers", "9"], {"MINDSQL_SESSIONS": "8", "MINDSQL_PRIVATE_HOSTS": "yes"})
    assert (found.max_rows, found.sessions, found.workers) == (1, 8, 9)
    assert found.allow_host == ["a", "b"] and found.no_mysql and found.private_hosts and found.max_body == 1 << 20
    assert found.file == ":memory:"


def test_the_environment_names_the_file_and_the_database(tmp_path: Path) -> None:
    (tmp_path / "serve.toml").write_text("port = 1234\n")
    environment = {"MINDSQL_CONFIG": str(tmp_path / "serve.toml"), "MINDSQL_FILE": "shop.duckdb",
                   "MINDSQL_ALLOW_HOST": "a, b", "MINDSQL_NO_AUTH": "0", "MINDSQL_KEY_ELSEWHERE": "x"}  # fmt: skip
    found = parsed([], environment)
    assert (found.port, found.file, found.allow_host, found.no_auth) == (1234, "shop.duckdb", ["a", "b"], False)
    assert parsed(["other.duckdb"], environment).file == "other.duckdb"


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("max-row = 1", {}, "there is no option max-row; there are: host, port"),
        ("port = 'x'", {}, "argument --port: a port from 0 to 65535 is wanted, not 'x'"),
        ("no-mysql = 'perhaps'", {}, "no-mysql is true or false, not 'perhaps'"),
        ("port = [1]", {}, "port takes one value"),
        ("name = 'a'", {}, "name takes a list"),
        ("port = ", {}, "is no TOML"),
        ("", {"MINDSQL_WORKERS": "none"}, "argument --workers: a whole number from 1 is wanted, not 'none'"),
        (None, {}, "cannot read "),
    ],
)
def test_what_is_wrong_says_where(
    text: str | None, environment: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "serve.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        parsed(["--config", str(file)], environment)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_every_option_is_in_the_readme() -> None:
    readme = (Path(cli.__file__).parent / "README.md").read_text(encoding="utf-8")
    options = {action.option_strings[-1] for action in cli._parser()._actions if action.option_strings} - {"--help"}
    assert {option for option in options if option not in readme} == set()
