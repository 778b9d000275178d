"""Owns how the checks are chosen and run: all at once by `check_engine`, or one by one as pytest's cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mindsql.engine import Engine
from mindsql.testing import check_answers, check_models
from mindsql.testing.checks import CHECKS, Check
from mindsql.testing.data import TrainingData
from mindsql.testing.subject import Case, CheckFailed, Subject

_MODULES = (check_models, check_answers)  # importing them fills CHECKS


@dataclass(frozen=True)
class BoundCheck:
    """A check of one case, ready to call."""

    check: Check
    subject: Subject

    def __call__(self) -> None:
        """Run it. Raises CheckFailed."""
        try:
            self.check.function(self.subject)
        except CheckFailed as error:
            raise self._failed(str(error)) from error
        except Exception as error:  # an engine may raise anything
            raise self._failed(f"{type(error).__name__}: {error}") from error

    def _failed(self, reason: str) -> CheckFailed:
        name = self.subject.case.label
        return CheckFailed(f"{name} fails {self.check.name}: {reason}\n  the promise: {self.check.promise}")


def checks_for(cls: type[Engine]) -> list[Check]:
    """The checks that an engine must pass, by what it declares and implements."""
    return [check for check in CHECKS if check.applies(cls)]


def check_engine(
    cls: type[Engine],
    *,
    options: Mapping[str, Any] | None = None,
    data: TrainingData | None = None,
    engine_options: Mapping[str, Any] | None = None,
    known_failures: Mapping[str, str] | None = None,
) -> None:
    """Run every check that applies.

    Args:
        cls: The engine.
        options: As in `CREATE MODEL … USING`; needed when the engine requires some.
        data: The rows to train on and to ask for; small flats and their rents when not given.
        engine_options: As in `CREATE ML_ENGINE … USING`.
        known_failures: Check name → reason. Such a check must fail: one that passes is reported.

    Raises:
        CheckFailed: Some checks fail; the text names each of them, what went wrong and the promise.
    """
    case = Case(cls, options or {}, data, engine_options or {}, known_failures or {})
    failed: list[CheckFailed] = []
    subject = Subject(case)
    for bound in _bound(case, subject):
        known = case.known_failures.get(bound.check.name)
        try:
            bound()
        except CheckFailed as error:
            if known is None:
                failed.append(error)
        else:
            if known is not None:
                failed.append(bound._failed(f"it passes, but is a known failure: {known}"))
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise CheckFailed(f"{len(failed)} checks fail\n" + "\n".join(map(str, failed)))


def parametrize_with_checks(cases: Iterable[type[Engine] | Case]) -> Any:
    """A pytest decorator: one test for each check of each case, called `Engine-check_…`.

    The test takes the argument `check` and calls it. Known failures become strict expected failures.
    """
    import pytest

    params = []
    for given in cases:
        case = given if isinstance(given, Case) else Case(given)
        for bound in _bound(case, Subject(case)):
            reason = case.known_failures.get(bound.check.name)
            marks = [pytest.mark.xfail(strict=True, raises=CheckFailed, reason=reason)] if reason else []
            params.append(pytest.param(bound, id=f"{case.label}-{bound.check.name}", marks=marks))
    return pytest.mark.parametrize("check", params)


def _bound(case: Case, subject: Subject) -> list[BoundCheck]:
    unknown = set(case.known_failures) - {check.name for check in CHECKS}
    if unknown:
        raise ValueError(f"no such checks: {', '.join(sorted(unknown))}")
    return [BoundCheck(check, subject) for check in checks_for(case.cls)]
