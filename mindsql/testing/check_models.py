"""Owns the checks of a model's life: options, training, storage, FINETUNE, DESCRIBE and secrets."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

from mindsql.engine import Capabilities, Engine, Option, Storage
from mindsql.errors import MindSQLError, StatementError
from mindsql.frames import to_pandas
from mindsql.options import check as check_options
from mindsql.options import typed
from mindsql.testing.checks import check, declares_options, implements
from mindsql.testing.subject import Subject, difference, expect

_MARKER = "s3cret-marker"


def _required(cls: type[Engine]) -> bool:
    return any(option.required for option in (*cls.options, *cls.engine_options))


def _secret(cls: type[Engine]) -> bool:
    return any(option.secret for option in (*cls.options, *cls.engine_options))


# Options --------------------------------------------------------------------------------------------------


@check()
def check_declarations(subject: Subject) -> None:
    """Capabilities and options are what they should be: no name twice, each default of its own type."""
    cls = subject.cls
    expect(isinstance(cls.capabilities, Capabilities), "capabilities is no Capabilities")
    for place, options in (
        ("options", cls.options_for(subject.case.options)),
        ("engine_options", cls.engine_options),
        ("predict_options", cls.predict_options),
    ):
        expect(
            all(isinstance(option, Option) for option in options),
            f"{place} holds something that is no Option",
        )
        names = [name.casefold() for option in options for name in (option.name, *option.aliases)]
        twice = sorted({name for name in names if names.count(name) > 1})
        expect(not twice, f"{place}: given twice: {', '.join(twice)}")
        for option in options:
            typed(option, option.default)
            secret_default = option.secret and option.default is not None
            expect(
                not secret_default,
                f'{place}: the secret "{option.name}" has a default, which everybody can read',
            )


@check(declares_options)
def check_unknown_option(subject: Subject) -> None:
    """An option that does not exist is refused, not ignored."""
    given = {**subject.case.options, "no_such_option": 1}
    try:
        check_options(given, subject.cls.options_for(given), subject.case.label)
    except StatementError:
        return
    expect(False, "USING no_such_option = 1 is taken")


@check(_required)
def check_required_options(subject: Subject) -> None:
    """A required option that is not given is refused, whatever else is given."""
    case = subject.case
    for declared, given in (
        (subject.cls.options, case.options),
        (subject.cls.engine_options, case.engine_options),
    ):
        for option in declared:
            if not option.required:
                continue
            rest = {key: value for key, value in given.items() if key not in (option.name, *option.aliases)}
            known: Iterable[Option] = (
                declared if given is case.engine_options else subject.cls.options_for(rest)
            )
            try:
                check_options(rest, list(known), case.label)
            except StatementError:
                continue
            expect(False, f'"{option.name}" is required, but may be left out')


# Training and storage -------------------------------------------------------------------------------------


@check()
def check_summary(subject: Subject) -> None:
    """After training the model's columns are known: inputs from the rows, the target first of the outputs."""
    summary = subject.summary
    expect(
        summary.outputs and summary.outputs.names[0] == subject.target, f"outputs are {summary.outputs.names}"
    )
    strange = [name for name in summary.inputs.names if subject.data.schema.find(name) is None]
    expect(not strange, f"inputs that the rows do not have: {', '.join(strange)}")
    expect(summary.inputs.find(subject.target) is None, "the target is an input")
    numbers = {**summary.metrics, **summary.baseline}
    if summary.accuracy is not None:
        numbers["accuracy"] = summary.accuracy
    odd = {
        name: value
        for name, value in numbers.items()
        if not isinstance(value, (int, float)) or math.isinf(value)
    }
    expect(not odd, f"scores that are no numbers: {odd}")
    expect(
        0 <= summary.rows + summary.rows_left_out <= subject.data.table.num_rows, "more rows than were given"
    )
    json.dumps([list(summary.classes), list(summary.notes)])


@check()
def check_state_in_storage(subject: Subject) -> None:
    """What `create` keeps in its storage is all that a fresh instance needs."""
    trained = subject.train()
    frame = to_pandas(subject.batch)
    asked = subject.args(subject.outputs)
    before = trained.predict(frame.copy(), asked)
    files = dict(trained.model_storage.files)
    after = subject.engine(files).predict(frame.copy(), subject.args(subject.outputs))
    one = {name: before[name].tolist() for name in before.columns}
    other = {name: after[name].tolist() for name in after.columns}
    expect(
        one.keys() == other.keys(), f"the fresh instance answers {list(other)}, the trained one {list(one)}"
    )
    found = difference(one, other)
    expect(
        not found or not subject.cls.capabilities.deterministic,
        f"the fresh instance answers otherwise: {found}",
    )


@check()
def check_models_apart(subject: Subject) -> None:
    """Two models of one engine share nothing: training a second leaves the first as it was."""
    model = subject.loaded()
    before = subject.answer(subject.batch, model=model)
    half = subject.frame.head(max(10, len(subject.frame) // 2)).copy()
    if subject.target in half and half[subject.target].dtype.kind == "f":
        half[subject.target] = half[subject.target] * 3 + 1
    subject.train(half)
    found = difference(before, subject.answer(subject.batch, model=model))
    expect(
        not found or not subject.cls.capabilities.deterministic, f"the first model answers otherwise: {found}"
    )


@check(implements("update"))
def check_update(subject: Subject) -> None:
    """FINETUNE makes a new version and leaves the old as it was; or it is refused with an error of ours."""
    base = Storage()
    base.files.update(subject.files)
    new = Storage(info={"name": "checked", "project": "mindsql", "target": subject.target})
    before = subject.answer(subject.batch)
    engine = subject.cls(model_storage=new, engine_storage=subject.engine_storage(), base_model_storage=base)
    try:
        engine.update(subject.frame.head(20).copy(), subject.args())
    except StatementError:
        new.files.clear()
    expect(base.files == subject.files, "update changes the files of the old version")
    found = difference(before, subject.answer(subject.batch, model=subject.loaded(base.files)))
    expect(
        not found or not subject.cls.capabilities.deterministic, f"the old version answers otherwise: {found}"
    )
    if new.files:
        summary = subject.engine(new.files).summary() or subject.summary
        subject.answer(subject.batch, model=subject.loaded(new.files, summary))


# Looking and hiding ---------------------------------------------------------------------------------------


@check(implements("describe"))
def check_describe(subject: Subject) -> None:
    """`describe()` lists its keys in one column `tables`, and answers each of them with a table."""
    keys = subject.engine().describe()
    expect(list(keys.columns) == ["tables"], f"the columns are {list(keys.columns)}")
    names = [str(name) for name in keys["tables"]]
    expect(names and len(set(names)) == len(names), f"the keys are {names}")
    for name in names:
        table = subject.engine().describe(name)
        expect(len(table.columns) > 0, f'describe("{name}") has no columns')


@check(implements("create_engine"))
def check_create_engine(subject: Subject) -> None:
    """`create_engine` takes the checked options, and leaves them as they are."""
    given = check_options(subject.case.engine_options, subject.cls.engine_options, subject.case.label)
    told = dict(given)
    subject.cls(engine_storage=subject.engine_storage()).create_engine(told)
    expect(told == given, f"it changes its options: {given} became {told}")


@check(_secret)
def check_secrets(subject: Subject) -> None:
    """A secret option is never in an error, a description, a note or a stored file."""
    options, engine_options = (
        {
            **given,
            **{option.name: _MARKER for option in declared if option.secret and option.type == "string"},
        }
        for declared, given in (
            (subject.cls.options, subject.case.options),
            (subject.cls.engine_options, subject.case.engine_options),
        )
    )
    other = Subject(_replaced(subject, options, engine_options))
    shown: list[tuple[str, str]] = []

    def attempt(place: str, call: Any) -> Any:
        try:
            return call()
        except Exception as error:  # what is in it is looked at, whatever it is
            shown.append((f"the error of {place}", "".join(traceback.format_exception_only(error))))
            if isinstance(error, MindSQLError):
                shown.append((f"the hint of {place}", str(error.hint)))
            return None

    engine = attempt("create", other.train)
    if engine is not None:
        files: Mapping[str, bytes] = engine.model_storage.files
        shown += [(f'the stored file "{name}"', content.decode("latin-1")) for name, content in files.items()]
        shown.append(("the summary", repr(engine.summary())))
        for key in (None, *_keys(engine)):
            table = attempt("describe", lambda key=key: engine.describe(key))
            shown.append((f"describe({key!r})", "" if table is None else table.to_csv()))
    attempt(
        "predict without a stored file",
        lambda: other.engine({}).predict(subject.frame, other.args([subject.target])),
    )
    attempt("create without the target", lambda: other.train(subject.frame[[]]))
    leaks = [place for place, text in shown if _MARKER in text]
    expect(not leaks, f"the secret is in the clear in {', '.join(leaks)}")


def _keys(engine: Engine) -> list[str]:
    try:
        return [str(name) for name in engine.describe()["tables"]]
    except Exception:  # that it can be described is another check's affair
        return []


def _replaced(subject: Subject, options: Mapping[str, Any], engine_options: Mapping[str, Any]) -> Any:
    from dataclasses import replace

    return replace(subject.case, options=options, engine_options=engine_options)
