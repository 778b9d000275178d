"""Owns the fixed recipe of the data, and the estimators that both sides fit on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NUMERIC = [f"n{index}" for index in range(6)]
CATEGORICAL = [f"c{index}" for index in range(4)]
FEATURES = [*NUMERIC, *CATEGORICAL]
FIT_ROWS = 20_000

_COLUMNS = """
    i AS id,
    (hash(i * 7 + 1) % 1000000) / 1000000.0 AS n0, (hash(i * 7 + 2) % 1000000) / 1000.0 AS n1,
    (hash(i * 7 + 3) % 10000)::INTEGER AS n2, sqrt(hash(i * 7 + 4) % 1000000) AS n3,
    ln(1 + hash(i * 7 + 5) % 100000) AS n4, (hash(i * 7 + 6) % 2001)::INTEGER - 1000 AS n5,
    'g' || (hash(i * 11 + 1) % 8) AS c0, 'city ' || (hash(i * 11 + 2) % 60) AS c1,
    ['low', 'middle', 'high'][1 + (hash(i * 11 + 3) % 3)::INTEGER] AS c2, 'k' || (hash(i * 11 + 4) % 20) AS c3
"""

# Case → estimator, its parameters, its target, and how a good engineer would encode categories for it.
MODELS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "linear": ("Ridge", {}, "y", "onehot"),
    "logistic": ("LogisticRegression", {"max_iter": 300}, "label", "onehot"),
    "tree": ("DecisionTreeRegressor", {"max_depth": 5, "random_state": 0}, "y", "ordinal"),
    "few trees": (
        "GradientBoostingRegressor",
        {"n_estimators": 20, "max_depth": 3, "random_state": 0},
        "y",
        "ordinal",
    ),
    "forest": (
        "RandomForestRegressor",
        {"n_estimators": 50, "max_depth": 10, "random_state": 0},
        "y",
        "ordinal",
    ),
    "boosting": ("HistGradientBoostingRegressor", {"max_iter": 100, "random_state": 0}, "y", "ordinal"),
}


def make_table(path: Path, rows: int) -> None:
    """Write a DuckDB file with the table `t`: an id, 6 numeric and 4 categorical columns, two targets."""
    import duckdb

    con = duckdb.connect(str(path))
    con.execute(f"""
        CREATE TABLE t AS SELECT *,
            10 * n0 + n1 / 100 - n3 / 50 + CASE c2 WHEN 'high' THEN 5 ELSE 0 END + hash(id) % 100 / 50.0 AS y,
            (n0 + n5 / 2000.0 + CASE c0 WHEN 'g1' THEN 0.4 ELSE 0 END > 0.6)::INTEGER AS label
        FROM (SELECT {_COLUMNS} FROM range({rows}) r(i))""")
    con.close()


def pipeline(case: str) -> Any:
    """The unfitted pipeline that one would write by hand."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
    from sklearn.utils import all_estimators

    name, parameters, _, encoding = MODELS[case]
    estimator = dict(all_estimators())[name](**parameters)
    if name == "RandomForestRegressor":
        estimator.set_params(n_jobs=2)
    if encoding == "onehot":
        encoder = make_column_transformer(
            (StandardScaler(), NUMERIC), (OneHotEncoder(handle_unknown="ignore"), CATEGORICAL)
        )
    else:
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        encoder = make_column_transformer(("passthrough", NUMERIC), (codes, CATEGORICAL))
    return make_pipeline(encoder, estimator)


def fit(table: Path, folder: Path) -> None:
    """Fit each case on the first rows: by hand as `<case>.joblib`, by CREATE MODEL in `<case>.duckdb`."""
    import duckdb
    import joblib

    import mindsql

    con = duckdb.connect(str(table), read_only=True)
    frame = con.execute(f"SELECT * FROM t WHERE id < {FIT_ROWS}").df()
    con.close()
    for case, (_, _, target, _) in MODELS.items():
        joblib.dump(pipeline(case).fit(frame[FEATURES], frame[target]), folder / f"{case}.joblib")
        with mindsql.connect(str(folder / f"{case}.duckdb")) as own:
            own.execute(f"ATTACH '{table}' AS d (READ_ONLY); USE d; {create_model(case)}")


def create_model(case: str, rows: int = FIT_ROWS) -> str:
    """The CREATE MODEL that trains the same estimator on the same rows."""
    name, parameters, target, _ = MODELS[case]
    using = "".join(f", {key} = {value!r}" for key, value in parameters.items())
    task = "regression" if target == "y" else "classification"
    return (
        f"CREATE MODEL m FROM (SELECT {', '.join(FEATURES)}, {target} FROM t WHERE id < {rows}) "
        f"PREDICT {target} USING estimator = '{name}', task = '{task}'{using}"
    )
