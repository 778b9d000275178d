"""Owns `mindsql demo`: a tour on real data, whose statements are the SQL text below."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mindsql.errors import EngineMissingError, StatementError
from mindsql.script import Runner, ScriptOptions, default_format, interruptible, opened, statements

if TYPE_CHECKING:
    from mindsql.connection import Connection

FILE = "mindsql-demo.duckdb"

TOUR = """
-- 569 biopsies from Wisconsin, a data set that comes with scikit-learn: measurements of cell nuclei, and the
-- diagnosis. Two of three patients shall be known to us, the others wait for theirs.
CREATE TABLE biopsies AS
SELECT patient, diagnosis,
       ['small', 'medium', 'large'][ntile(3) OVER (ORDER BY "mean area")] AS size,
       "mean radius" AS radius, "mean texture" AS texture, "mean smoothness" AS smoothness,
       "mean concavity" AS concavity, "mean symmetry" AS symmetry,
       "worst radius" AS worst_radius, "worst texture" AS worst_texture, "worst concavity" AS worst_concavity
FROM wisconsin ORDER BY patient;

CREATE VIEW known AS SELECT * EXCLUDE (patient) FROM biopsies WHERE patient % 3 <> 0;

CREATE VIEW waiting AS SELECT * EXCLUDE (diagnosis) FROM biopsies WHERE patient % 3 = 0;

-- Train. Without more words it is gradient boosting, and the type of the target says: classification.
CREATE MODEL triage FROM (SELECT * FROM known) PREDICT diagnosis;

-- The model is a table. One patient, described by WHERE; what is not known is left out.
SELECT diagnosis, round(diagnosis_confidence, 3) AS confidence
FROM triage
WHERE radius = 20.6 AND texture = 29.3 AND worst_radius = 25.7 AND worst_concavity = 0.66;

-- All who wait, by a JOIN: the columns find each other by name, the rest is plain SQL.
SELECT p.size, m.diagnosis, count(*) AS patients, round(avg(m.diagnosis_confidence), 3) AS confidence
FROM waiting AS p JOIN triage AS m
GROUP BY ALL ORDER BY p.size, m.diagnosis;

-- Whom to call first: the predictions to doubt most.
SELECT p.patient, p.size, m.diagnosis, round(m.diagnosis_confidence, 3) AS confidence
FROM waiting AS p JOIN triage AS m
ORDER BY m.diagnosis_confidence LIMIT 5;

-- What was trained, on what, and how good it is on rows it was not trained on.
DESCRIBE triage;

-- How good it is on those who waited, now that we look at their diagnoses.
EVALUATE triage FROM (SELECT * FROM biopsies WHERE patient % 3 = 0);
"""

ENGINES = (
    ("sklearn", ""),
    ("sklearn", "estimator = 'LogisticRegression'"),
    ("sklearn", "estimator = 'LGBMClassifier'"),
    ("sklearn", "estimator = 'XGBClassifier'"),
    ("sklearn", "estimator = 'CatBoostClassifier', iterations = 200"),
    ("sklearn", "estimator = 'auto', time_limit = 20"),
    ("lightwood", "trusted = true, time_limit = 20"),
    ("ludwig", "epochs = 40"),
)
"""What `--engines` trains, engine by engine, where it is installed."""


def main(arguments: list[str]) -> int:
    """Run the tour and give the exit status."""
    parser = argparse.ArgumentParser(
        prog="mindsql demo",
        description="Trains a model on real data and asks it, in SQL. Leaves a DuckDB file to go on with.",
        allow_abbrev=False,
    )
    parser.add_argument("--keep", metavar="FILE", default=FILE, help=f"the file to make (default: {FILE})")
    parser.add_argument("--engines", action="store_true", help="train with each engine that is installed, and compare")
    given = parser.parse_args(arguments)
    file = Path(given.keep)
    if file.exists():
        raise StatementError(
            f"{file} exists already",
            hint=f"open it with `mindsql {file}`, or make another with `mindsql demo --keep FILE`",
        )
    started, done = time.monotonic(), False
    try:
        status = _compare(file) if given.engines else _tour(file)
        done = status == 0
    finally:
        if not done:
            # Half a tour is of no use, and would be in the way of the next.
            for leftover in (file, file.with_name(file.name + ".wal")):
                leftover.unlink(missing_ok=True)
    if done:
        seconds = time.monotonic() - started
        _say(f"\nDone in {seconds:.1f} s. The tables and the model are in {file}; open it with:")
        _say(f"\n    mindsql {file}\n")
    return status


def _tour(file: Path) -> int:
    with opened(str(file)) as connection:
        runner = Runner(connection, ScriptOptions(default_format(tables=True), timer=True, chatty=True), log=_say)
        interruptible(connection, lambda stop: _load(connection))
        end = 0
        for sql, start in statements(TOUR):
            told = TOUR[end:start].removeprefix(";").strip()
            end = start + len(sql)
            _say(f"\n{told}\n{sql};" if told else f"\n{sql};")
            if status := runner.run_one(sql):
                return status
    return 0


def _compare(file: Path) -> int:
    """Train on the same rows with each engine, and show what came of it."""
    with opened(str(file)) as connection:
        interruptible(connection, lambda stop: _load(connection))
        runner = Runner(connection, ScriptOptions(default_format(tables=True), chatty=True), log=_say)
        for sql, _ in list(statements(TOUR))[:2]:
            connection.execute(sql)
        connection.execute("CREATE TABLE engines (engine VARCHAR, options VARCHAR, accuracy DOUBLE, seconds DOUBLE)")
        for number, (engine, using) in enumerate(ENGINES):
            options = f"engine = '{engine}'{', ' if using else ''}{using}"
            create = f"CREATE MODEL m{number} FROM (SELECT * FROM known) PREDICT diagnosis USING {options}"
            _say(f"{engine} {using} …".replace("  ", " "))
            try:
                interruptible(connection, partial(_run, connection, create))
            except EngineMissingError as error:
                _say(f"  left out: {error.message}" + (f" ({error.hint})" if error.hint else ""))
                continue
            connection.execute(
                f"""INSERT INTO engines SELECT ?, ?, avg((m.diagnosis = b.diagnosis)::INTEGER),
                (SELECT training_time FROM information_schema.models WHERE name = 'm{number}')
                FROM (SELECT * FROM biopsies WHERE patient % 3 = 0) AS b JOIN m{number} AS m""",
                [engine, using],
            )
        return runner.run_one("SELECT * FROM engines ORDER BY accuracy DESC, seconds")


def _run(connection: Connection, sql: str, stop: threading.Event) -> None:
    connection.execute(sql)


def _load(connection: Connection) -> None:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    frame = data.data.assign(
        patient=range(1, len(data.data) + 1),
        diagnosis=[str(data.target_names[target]) for target in data.target],
    )
    connection.register("wisconsin", frame)


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
