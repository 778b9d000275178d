"""The conformance suite over the remote handlers, each asking a server of ours."""

from __future__ import annotations

from servers.answers import conformance

from mindsql.testing import BoundCheck, parametrize_with_checks


@parametrize_with_checks(conformance())
def test_contract(check: BoundCheck) -> None:
    check()
