"""What of an option is a path that a sandbox must admit."""

from __future__ import annotations

import pytest

from mindsql.errors import AccessError
from mindsql.sandbox import Sandbox, paths_in


@pytest.mark.parametrize(
    ("name", "value", "paths"),
    [
        ("path", "data/x.csv", ["data/x.csv"]),
        ("path", "s3://bucket/x", ["s3://bucket/x"]),
        ("uri", "s3://bucket/x", []),
        ("uri", "file:///etc/x", ["/etc/x"]),
        ("uri", "lake/rows", ["lake/rows"]),
        ("url", "mysql+pymysql://u:p@host/db?read_default_file=/etc/my.cnf&charset=utf8mb4", ["/etc/my.cnf"]),
        ("catalog", {"type": "sql", "uri": "sqlite:////etc/x.db", "w": "file:///tmp/w"}, ["/etc/x.db", "/tmp/w"]),
        ("catalog", {"type": "rest", "uri": "https://host/x", "s3.secret-access-key": "a/b", "a": "./x"}, ["./x"]),
        ("connection_parameters", {"sslrootcert": "/etc/ca.pem", "application_name": "x", "n": 5}, ["/etc/ca.pem"]),
        ("path", 5, [5]),
    ],
)
def test_paths_of_an_option(name: str, value: object, paths: list[object]) -> None:
    assert list(paths_in(value, name)) == paths


def test_a_sandbox_admits_its_folders_alone(tmp_path: object) -> None:
    sandbox = Sandbox(folders=(str(tmp_path),))
    sandbox.admit(f"{tmp_path}/x")
    for path in ("/etc/passwd", f"{tmp_path}/../x", 5, "sqlite:////etc/x"):
        with pytest.raises(AccessError):
            sandbox.admit(path)
