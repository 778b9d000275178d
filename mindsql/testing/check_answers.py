"""Owns the checks of answers: which rows, which columns, which values come back from which input."""

from __future__ import annotations

import copy
import threading
from typing import Any

from mindsql.database import Database, quote, table
from mindsql.engine import Translation
from mindsql.frames import TrainingRows, compact, to_pandas
from mindsql.testing.checks import check, implements, repeatable
from mindsql.testing.subject import Answers, Subject, difference, expect

# Rows ------------------------------------------------------------------------------------------------------


@check()
def check_row_count(subject: Subject) -> None:
    """`predict` answers n rows with n rows."""
    for rows in (subject.batch, subject.batch.slice(0, 2)):
        frame = subject.predict(to_pandas(rows))
        expect(len(frame) == rows.num_rows, f"{rows.num_rows} rows were asked for, {len(frame)} came back")


@check()
def check_one_row(subject: Subject) -> None:
    """One row gets one answer."""
    answers = subject.answer(subject.batch.slice(3, 1))
    expect(all(len(values) == 1 for values in answers.values()), f"the answers are {answers}")


@check()
def check_empty_frame(subject: Subject) -> None:
    """No rows get no answers, in the same columns."""
    answers = subject.answer(subject.batch.slice(0, 0))
    expect(all(values == [] for values in answers.values()), f"the answers are {answers}")


@check(repeatable)
def check_row_order(subject: Subject) -> None:
    """The answers come in the order of the rows."""
    order = list(range(subject.batch.num_rows))[::-1]
    forward, backward = subject.answer(subject.batch), subject.answer(subject.batch.take(order))
    found = difference(forward, {name: values[::-1] for name, values in backward.items()})
    expect(not found, f"rows asked in reverse are answered otherwise: {found}")


@check(repeatable)
def check_index(subject: Subject) -> None:
    """The index of the frame that `predict` is given does not matter."""
    frame = to_pandas(subject.batch)
    plain = subject.predict(frame)[subject.target].tolist()
    odd = frame.copy()
    odd.index = [f"row {number % 7}" for number in range(len(frame))]
    answers = subject.predict(odd)[subject.target].tolist()
    found = difference({subject.target: plain}, {subject.target: answers})
    expect(not found, f"with another index the answers are others: {found}")


@check(repeatable)
def check_subset_invariance(subject: Subject) -> None:
    """The answers for some of the rows are some of the answers."""
    whole = subject.answer(subject.batch)
    for start, length in ((0, 5), (subject.batch.num_rows // 2, 9)):
        part = subject.answer(subject.batch.slice(start, length))
        found = difference({name: values[start : start + length] for name, values in whole.items()}, part)
        expect(not found, f"rows {start} to {start + length} alone are answered otherwise: {found}")


@check(repeatable)
def check_batch_size(subject: Subject) -> None:
    """The rows may come in batches of any size to one loaded model."""
    whole, model = subject.answer(subject.batch), subject.loaded()
    for size in (1, 7):
        parts: Answers = {name: [] for name in whole}
        for start in range(0, subject.batch.num_rows, size):
            for name, values in subject.answer(subject.batch.slice(start, size), model=model).items():
                parts[name] += values
        found = difference(whole, parts)
        expect(not found, f"in batches of {size} the answers are others: {found}")


@check(lambda cls: cls.capabilities.deterministic)
def check_determinism(subject: Subject) -> None:
    """The same rows get the same answers again, from the same model and from one loaded anew."""
    model = subject.loaded()
    first = subject.answer(subject.batch, model=model)
    for name, again in (("again", model), ("loaded anew", subject.loaded())):
        found = difference(first, subject.answer(subject.batch, model=again))
        expect(not found, f"{name}, the model answers otherwise: {found}")


@check(lambda cls: cls.capabilities.thread_safe)
def check_threads(subject: Subject) -> None:
    """Threads that ask one loaded model at once get the answers that one thread gets."""
    model, expected = subject.loaded(), subject.answer(subject.batch)
    found: list[str] = []
    start = threading.Barrier(4)

    def ask() -> None:
        start.wait()
        try:
            for _ in range(5):
                found.append(difference(expected, subject.answer(subject.batch, model=model)))
        except Exception as error:  # a thread's error belongs to the report
            found.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [text for text in found if text]
    expect(not wrong, f"{len(wrong)} of {len(found)} calls in threads went wrong: {wrong[:1]}")


# Columns --------------------------------------------------------------------------------------------------


@check()
def check_target_column(subject: Subject) -> None:
    """The column that is named as the target comes back, with values of the declared type."""
    frame = subject.predict(to_pandas(subject.batch))
    expect(subject.target in frame.columns, f'"{subject.target}" is not among {list(frame.columns)}')
    values = subject.answer(subject.batch, [subject.outputs[0]])[subject.outputs[0]]
    expect(any(value is not None for value in values), "no row got an answer")
    classes = subject.summary.classes
    strange = {str(value) for value in values if value is not None} - set(classes) if classes else ()
    expect(not strange, f"answers that are none of the classes {classes}: {strange}")


@check(implements("summary"))
def check_extra_columns(subject: Subject) -> None:
    """Each declared extra column comes when it is asked for, and only then."""
    frame = to_pandas(subject.batch)
    alone = subject.predict(frame, [subject.target])
    unasked = [name for name in subject.outputs[1:] if name in alone.columns]
    expect(not unasked, f"nobody asked for {', '.join(unasked)}: computing it costs for nothing")
    for name in subject.outputs[1:]:
        both = subject.predict(frame, [subject.target, name])
        expect(name in both.columns, f'"{name}" is declared in summary() but did not come')
        found = difference({"": alone[subject.target].tolist()}, {"": both[subject.target].tolist()})
        expect(not found or not repeatable(subject.cls), f'asking for "{name}" changes the target: {found}')
        subject.answer(subject.batch, [name])  # alone too; of its type, or the border refuses it


@check(implements("predictor"))
def check_predictor(subject: Subject) -> None:
    """The predictor answers as `predict` does."""
    expect(subject.engine().predictor(subject.args([])) is not None, "predictor() gives None: leave it out")
    fast = subject.answer(subject.batch)
    frame = subject.predict(to_pandas(subject.batch), subject.outputs)
    slow = {name: frame[name].tolist() for name in subject.outputs}
    found = difference(fast, slow)
    expect(not found or not repeatable(subject.cls), f"the two differ: {found}")


@check(lambda cls: cls.capabilities.takes_arrow)
def check_takes_arrow(subject: Subject) -> None:
    """Trained on Arrow it answers as trained on a data frame."""
    table = subject.data.table
    trained = subject.train(TrainingRows(compact(table.to_batches(), table.schema)))
    model = subject.loaded(trained.model_storage.files, trained.summary())
    found = difference(subject.answer(subject.batch, model=model), subject.answer(subject.batch))
    expect(not found or not repeatable(subject.cls), f"the two differ: {found}")


@check(implements("translation"))
def check_translation(subject: Subject) -> None:
    """The model as SQL answers as the predictor does, NULLs included."""
    import pyarrow as pa

    translated = subject.engine().translation(subject.args([]))
    if not isinstance(translated, Translation):  # this model has no such form
        return
    rows = pa.Table.from_batches([subject.batch])
    if subject.cls.capabilities.accepts_missing:
        rows = pa.concat_tables(
            [rows, pa.table([pa.nulls(1, field.type) for field in rows.schema], rows.schema)]
        )
    batch = rows.combine_chunks().to_batches()[0]
    sql = "SELECT * FROM inputs"
    for number, level in enumerate((*translated.steps, translated.outputs)):
        star = "*, " if number < len(translated.steps) else ""
        sql = f"SELECT {star}{', '.join(f'{expr} AS {quote(name)}' for name, expr in level.items())} FROM ({sql})"
    memory = Database(":memory:", read_only=False)
    raw = memory.cursor()
    try:
        raw.register("inputs", rows)
        computed = table(raw, sql).to_pydict()
    finally:
        raw.close()
        memory.close()
    found = difference(computed, subject.answer(batch, list(translated.outputs)))
    expect(not found, f"SQL and predictor differ: {found}")


# Input ----------------------------------------------------------------------------------------------------


@check()
def check_frame_unchanged(subject: Subject) -> None:
    """`create` and `predict` leave the frame that they are given as it is."""
    training = subject.frame.copy()
    subject.train(training)
    asked = to_pandas(subject.batch)
    before = asked.copy()
    subject.predict(asked, subject.outputs)
    for name, changed, original in (("create", training, subject.frame), ("predict", asked, before)):
        expect(changed.equals(original), f"{name} changes the frame")
        expect(changed.index.equals(original.index), f"{name} changes the index of the frame")


@check()
def check_args_unchanged(subject: Subject) -> None:
    """`create` and `predict` leave the arguments that they are given as they are."""
    told: list[tuple[str, dict[str, Any]]] = [
        ("create", subject.args()),
        ("predict", subject.args(subject.outputs)),
    ]
    kept = copy.deepcopy(told)
    subject.train(args=told[0][1])
    subject.engine().predict(to_pandas(subject.batch), told[1][1])
    for (method, args), (_, before) in zip(told, kept, strict=True):
        expect(args == before, f"{method} changes args: {before} became {args}")


@check(lambda cls: cls.capabilities.accepts_missing)
def check_nulls(subject: Subject) -> None:
    """An input may be NULL in some rows or in all; every row still gets its place."""
    import pyarrow as pa

    few = subject.batch.slice(0, 6)
    for index, name in enumerate(few.schema.names):
        values = few.column(index)
        some = pa.array(
            [None if row % 2 else value for row, value in enumerate(values.to_pylist())], values.type
        )
        for nulls in (some, pa.nulls(len(few), values.type)):
            arrays = [*few.columns[:index], nulls, *few.columns[index + 1 :]]
            answers = subject.answer(pa.RecordBatch.from_arrays(arrays, names=few.schema.names))
            expect(len(answers[subject.outputs[0]]) == len(few), f'rows with NULL in "{name}" are lost')
    nothing = pa.RecordBatch.from_arrays(
        [pa.nulls(2, field.type) for field in few.schema], names=few.schema.names
    )
    subject.answer(nothing)


@check(repeatable)
def check_type_family(subject: Subject) -> None:
    """An input may come as another type of its family: a whole number as a float, a text as a dictionary."""
    import pyarrow as pa

    arrays = []
    for array in subject.batch.columns:
        if pa.types.is_integer(array.type):
            array = array.cast(pa.float64())
        elif pa.types.is_string(array.type):
            array = array.dictionary_encode()
        arrays.append(array)
    other = pa.RecordBatch.from_arrays(arrays, names=subject.batch.schema.names)
    found = difference(subject.answer(subject.batch), subject.answer(other))
    expect(not found, f"the same values of another type are answered otherwise: {found}")
