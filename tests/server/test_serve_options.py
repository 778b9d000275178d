"""What `mindsql serve` says of options that cannot be, before it opens anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mindsql.server import cli


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--port", "99999"], "argument --port: a port from 0 to 65535 is wanted, not '99999'"),
        (["--max-body", "x"], "argument --max-body: a size such as 100MB is wanted, not 'x'"),
        (["--max-body=-5MB"], "argument --max-body: a size such as 100MB is wanted, not '-5MB'"),
        (["--timeout", "-1"], "argument --timeout: a number of seconds is wanted, not '-1'"),
        (["--grace", "nan"], "argument --grace: a number of seconds is wanted, not 'nan'"),
        (["--workers", "0"], "argument --workers: a whole number from 1 is wanted, not '0'"),
        (["--allow-folder", "nowhere"], "--allow-folder: there is no folder nowhere"),
        (["nowhere/shop.duckdb"], "there is no folder nowhere"),
        (["--cert", "cert.pem"], "--cert and --key belong together"),
        (["--require-tls"], "--require-tls needs --cert and --key"),
        (["--cert", "cert.pem", "--key", "nowhere.pem"], "cannot read nowhere.pem"),
        (["--cert", "cert.pem", "--key", "cert.pem"], "cert.pem and cert.pem are no certificate and its key in PEM"),
    ],
)
def test_refused(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2, naming the option; no folder or file is made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cert.pem").write_text("no certificate\n")
    with pytest.raises(SystemExit) as stopped:
        cli.main(given)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["cert.pem"]


@pytest.mark.parametrize(("given", "bytes_"), [("1000", 1000), ("64KB", 65536), ("1.5mb", 1572864), ("7B", 7)])
def test_sizes(given: str, bytes_: int) -> None:
    """A size is in bytes, or says its unit."""
    assert cli._parser().parse_args(["--max-body", given]).max_body == bytes_


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, "mindsql.server.serve", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli.main([]) == 2
    assert capsys.readouterr().err.startswith("error: the server needs uvicorn, which is not installed\nhint: pip")


@pytest.mark.parametrize("holds", ["shop.duckdb", "shop.duckdb.audit.jsonl"])
def test_a_folder_that_holds_the_database_is_none_to_read_from(
    holds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    options = ["deep/shop.duckdb"] if holds == "shop.duckdb" else ["shop.duckdb", "--audit", "deep/log"]
    assert cli.main([*options, "--allow-folder", "deep/.."]) == 2
    assert "deep/.. holds the " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_a_file_without_tokens_is_not_opened_to_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["shop.duckdb", "--host", "0.0.0.0"]) == 2
    assert "hint: make one with: mindsql token create shop.duckdb" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
