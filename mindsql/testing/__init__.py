"""The conformance suites that every engine and every source must pass, for this package and for strangers.

    from mindsql.testing import check_engine, parametrize_with_checks

    check_engine(MyEngine)                       # raises CheckFailed, which names each check that fails

    @parametrize_with_checks([MyEngine])         # or one test per check, for pytest
    def test_my_engine(check):
        check()

    check_source(MySource, {"host": "localhost"})  # the same for a source, against a database with rows in it

The checks are small functions, chosen by what the engine declares (`Capabilities`) and implements.
`ToyEngine` shows how to write an engine; `training_data` makes rows to train on.
"""

from __future__ import annotations

from mindsql.testing.check_source import check_source
from mindsql.testing.checks import CHECKS, Check
from mindsql.testing.data import TrainingData, training_data
from mindsql.testing.subject import Case, CheckFailed, Subject
from mindsql.testing.suite import BoundCheck, check_engine, checks_for, parametrize_with_checks
from mindsql.testing.toy import ToyEngine

__all__ = [
    "CHECKS",
    "BoundCheck",
    "Case",
    "Check",
    "CheckFailed",
    "Subject",
    "ToyEngine",
    "TrainingData",
    "check_engine",
    "check_source",
    "checks_for",
    "parametrize_with_checks",
    "training_data",
]
