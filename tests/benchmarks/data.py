"""Owns the fixed recipe of the data and of the fitted pipelines that both sides share."""

from __future__ import annotations

from pathlib import Path

import duckdb

NUMERIC = [f"n{index}" for index in range(6)]
CATEGORICAL = [f"c{index}" for index in range(4)]
FEATURES = [*NUMERIC, *CATEGORICAL]

_COLUMNS = """
    i AS id,
    (hash(i * 7 + 1) % 1000000) / 1000000.0 AS n0, (hash(i * 7 + 2) % 1000000) / 1000.0 AS n1,
    (hash(i * 7 + 3) % 10000)::INTEGER AS n2, sqrt(hash(i * 7 + 4) % 1000000) AS n3,
    ln(1 + hash(i * 7 + 5) % 100000) AS n4, (hash(i * 7 + 6) % 2001)::INTEGER - 1000 AS n5,
    'g' || (hash(i * 11 + 1) % 8) AS c0, 'city ' || (hash(i * 11 + 2) % 60) AS c1,
    ['low', 'middle', 'high'][1 + (hash(i * 11 + 3) % 3)::INTEGER] AS c2, 'k' || (hash(i * 11 + 4) % 20) AS c3
"""


def make_table(path: Path, rows: int) -> None:
    """Write a DuckDB file with the table `t`: an id, 6 numeric, 4 categorical columns and two targets."""
    con = duckdb.connect(str(path))
    con.execute(f"""
        CREATE TABLE t AS SELECT *,
            10 * n0 + n1 / 100 - n3 / 50 + CASE c2 WHEN 'high' THEN 5 ELSE 0 END + hash(id) % 100 / 50.0 AS y,
            (n0 + n5 / 2000.0 + CASE c0 WHEN 'g1' THEN 0.4 ELSE 0 END > 0.6)::INTEGER AS label
        FROM (SELECT {_COLUMNS} FROM range({rows}) r(i))""")
    con.close()


def fit_pipelines(table: Path, folder: Path, rows: int = 20_000) -> None:
    """Fit the pipelines on the first rows and store each as `<name>.joblib`."""
    import joblib
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    con = duckdb.connect(str(table), read_only=True)
    frame = con.execute(f"SELECT * FROM t WHERE id < {rows}").df()
    con.close()

    def linear() -> object:
        return make_column_transformer(
            (StandardScaler(), NUMERIC), (OneHotEncoder(handle_unknown="ignore"), CATEGORICAL)
        )

    def ordinal() -> object:
        codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        return make_column_transformer(("passthrough", NUMERIC), (codes, CATEGORICAL))

    models = {
        "linear": make_pipeline(linear(), Ridge()),
        "forest": make_pipeline(ordinal(), RandomForestRegressor(50, max_depth=10, random_state=0, n_jobs=2)),
        "boosting": make_pipeline(ordinal(), HistGradientBoostingRegressor(max_iter=100, random_state=0)),
    }
    for name, model in models.items():
        joblib.dump(model.fit(frame[FEATURES], frame["y"]), folder / f"{name}.joblib")
