"""Owns the tests that numbers of statistics are the right ones: scikit-learn's own on the same values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import linear_model, metrics, preprocessing, svm

import mindsql
from mindsql import metrics as ours
from mindsql_engines.sklearn.spelling import recognise

RNG = np.random.default_rng(3)
ROWS = 240


@pytest.fixture(scope="module")
def con() -> Iterator[mindsql.Connection]:
    con = mindsql.connect()
    yield con
    con.close()


# Scores ---------------------------------------------------------------------------------------------------

_BINARY = (RNG.random(ROWS) < 0.3).astype(int)
_GUESS = np.where(RNG.random(ROWS) < 0.8, _BINARY, 1 - _BINARY)
_THREE = RNG.integers(0, 3, ROWS)
_GUESS_OF_THREE = np.where(RNG.random(ROWS) < 0.7, _THREE, RNG.integers(0, 3, ROWS))
_NUMBERS = (RNG.random(ROWS) + 0.1).round(3)
_NEAR = (_NUMBERS + RNG.normal(0, 0.02, ROWS).clip(-0.05, 0.05)).round(3)
_SHARES = np.clip(_BINARY * 0.4 + RNG.random(ROWS) * 0.6, 0, 1).round(3)

PAIRS: dict[str, tuple[Any, Any, list[tuple[str, str]]]] = {
    "two labels": (
        _BINARY,
        _GUESS,
        [
            ("a", "p"),
            ("a::DECIMAL(5,2)", "p"),
            ("a::BOOLEAN", "p"),
            ("a::BOOLEAN", "p::BOOLEAN"),
            ("a", "p::BOOLEAN"),
            ("a::TEXT", "p::DOUBLE"),
            ("a::BOOLEAN", "p::BOOLEAN::TEXT"),
            ("a::HUGEINT", "p::FLOAT"),
        ],
    ),
    "three labels": (_THREE, _GUESS_OF_THREE, [("a", "p"), ("a::DOUBLE", "p::DECIMAL(4,1)"), ("a::TEXT", "p")]),
    "numbers": (_NUMBERS, _NEAR, [("a", "p"), ("a::DECIMAL(8,3)", "p::DECIMAL(8,3)"), ("a::TEXT", "p")]),
    "probabilities": (_BINARY, _SHARES, [("a", "p"), ("a::BOOLEAN", "p::DECIMAL(8,3)"), ("a::DOUBLE", "p")]),
}
_WANTED = {"two labels": "labels", "three labels": "labels", "numbers": "numbers", "probabilities": "probabilities"}
CASES = [
    (kind, metric.function)
    for kind, wanted in _WANTED.items()
    for metric in ours.METRICS.values()
    if metric.wants == wanted and not metric.keywords and not metric.negated
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_score_under_their_name_is_their_number(con: mindsql.Connection, kind: str, name: str) -> None:
    actual, prediction, casts = PAIRS[kind]
    con.register("pairs", pa.table({"a": actual, "p": prediction}))
    averaged = name.removesuffix("_score") in ("precision", "recall", "f1", "jaccard")
    keywords = {"average": "macro"} if averaged and kind == "three labels" else {}
    expected = getattr(metrics, name)(actual, prediction, **keywords)
    for left, right in casts:
        pairs = f"SELECT {left} AS actual, {right} AS prediction FROM pairs"
        found = con.execute(f"EVALUATE {name} FROM ({pairs})").fetchone()
        assert found is not None
        assert found[0] == pytest.approx(expected, rel=1e-9), (left, right)


@pytest.mark.parametrize("kind", ["numbers", "probabilities"])
@pytest.mark.parametrize("name", ["accuracy", "f1_score", "balanced_accuracy_score", "zero_one_loss"])
def test_labels_are_no_fractions(con: mindsql.Connection, kind: str, name: str) -> None:
    con.register("pairs", pa.table({"a": PAIRS[kind][0], "p": PAIRS[kind][1]}))
    with pytest.raises(mindsql.DataError, match=r"compares labels, and the prediction .* is none"):
        con.execute(f"EVALUATE {name} FROM (SELECT a AS actual, p AS prediction FROM pairs)")


def test_labels_that_never_meet_are_said(con: mindsql.Connection) -> None:
    sql = "EVALUATE accuracy FROM (SELECT 'no' AS actual, {} AS prediction FROM range(4))"
    assert con.execute(sql.format("0")).notes == (
        "no prediction is an actual label: actual are no, predicted 0",
    )
    assert con.execute(sql.format("'no'")).notes == ()


# Linear models --------------------------------------------------------------------------------------------

_X = RNG.uniform(5, 11, (ROWS, 2))
_EXACT = 2 * _X[:, 0] + 3 * _X[:, 1]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    ("estimator", "using"),
    [
        (linear_model.LinearRegression, {}),
        (linear_model.Ridge, {"alpha": 1e-6}),
        (linear_model.Lasso, {"alpha": 1e-6}),
        (linear_model.ElasticNet, {"alpha": 1e-6}),
        (linear_model.BayesianRidge, {}),
        (linear_model.HuberRegressor, {}),
        (linear_model.SGDRegressor, {"max_iter": 5000}),
        (linear_model.TheilSenRegressor, {}),
        (svm.LinearSVR, {"max_iter": 50000, "C": 100.0}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_line_is_found_with_an_intercept_and_without(
    con: mindsql.Connection, estimator: Callable[..., Any], using: dict[str, Any], intercept: bool
) -> None:
    scaled = preprocessing.StandardScaler(with_mean=intercept).fit_transform(_X)
    by_hand = estimator(fit_intercept=intercept, **using).fit(scaled, _EXACT).predict(scaled)
    con.register("line", pa.table({"x": _X[:, 0], "w": _X[:, 1], "y": _EXACT}))
    options = "".join(f", {name} = {value}" for name, value in using.items())
    con.execute(
        f"CREATE OR REPLACE MODEL line_model FROM (SELECT * FROM line) PREDICT y "
        f"USING estimator = '{estimator.__name__}', fit_intercept = {intercept}, test_size = 0{options}"
    )
    found = con.execute("SELECT m.y FROM line JOIN line_model AS m").df()["y"].to_numpy()
    assert metrics.r2_score(_EXACT, found) >= metrics.r2_score(_EXACT, by_hand) - 1e-3


# Numbers and dates in text --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["$1,234", "$5"], [1234.0, 5.0]),
        (["1,234", "5,678"], [1234.0, 5678.0]),
        (["1.234 kg", "12.345 kg"], [1.234, 12.345]),
        (["1.234 €", "12.345 €"], [1234.0, 12345.0]),
        (["1.234,5 kg", "1.234.567 kg"], [1234.5, 1234567.0]),
        (["1,5 kg", "12 kg"], [1.5, 12.0]),
        (["12.5 %", "7 %"], [12.5, 7.0]),
        (["2024-01-05T10:00:00+02:00", "2024-01-05T10:00:00.5Z"],
         [datetime(2024, 1, 5, 8), datetime(2024, 1, 5, 10, 0, 0, 500000)]),
        (["2024-01-05T10:00Z", "2024-01-05T10:00 -0130"], [datetime(2024, 1, 5, 10), datetime(2024, 1, 5, 11, 30)]),
        (["2024-01-05T10:00", "2024-01-06T09:30"], [datetime(2024, 1, 5, 10), datetime(2024, 1, 6, 9, 30)]),
        (["31/12/2024", "01/02/2024"], [datetime(2024, 12, 31), datetime(2024, 2, 1)]),
        (["9:05", "12:45"], [time(9, 5), time(12, 45)]),
        (["09:05:30", "23:59:59"], [time(9, 5, 30), time(23, 59, 59)]),
    ],
)  # fmt: skip
def test_numbers_and_dates_in_text(texts: list[str], values: list[Any]) -> None:
    spelling = recognise(texts)
    assert spelling is not None
    assert spelling.read(pa.array(texts)).tolist() == values


@pytest.mark.parametrize(
    "texts",
    [["00501", "10001"], ["16:9", "4:3"], ["1-800", "2-900"], ["10.0.0.1", "10.0.0.2"], ["24:99", "12:30"]],
)
def test_what_only_looks_like_a_number(texts: list[str]) -> None:
    assert recognise(texts) is None


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        (["12 kg", "13 kg"], "1,5 kg"),  # no comma was seen
        (["1.234,5 kg", "2.000,0 kg"], "1.5 kg"),  # the point stood between thousands
        (["$1,234", "$5"], "$1,5"),
        (["2024-01-05T10:00Z", "2024-01-06T10:00Z"], "2024-13-05T10:00Z"),
    ],
)
def test_what_is_spelt_in_another_way_is_missing(trained: list[str], asked: str) -> None:
    spelling = recognise(trained)
    assert spelling is not None
    found = pa.array(spelling.read(pa.array([trained[0], asked])), from_pandas=True)
    assert found.is_null().to_pylist() == [False, True]


def test_max_rows_is_a_sample_that_lasts() -> None:
    """DuckDB keeps a sample of what streams; the versions after it are trained in the same way."""
    with mindsql.connect() as con:
        every = "SELECT i AS a, 2.0 * i AS y FROM range(5000) r(i)"

        def trained(text: str) -> tuple[int, str]:
            made = con.execute(text)
            return made.fetchone()[5], " ".join(made.notes)

        rows, notes = trained(f"CREATE MODEL m FROM ({every}) PREDICT y USING estimator = 'Ridge', max_rows = 50")
        assert rows == 50 and "max_rows = 50: of more rows it saw a sample" in notes
        assert trained("RETRAIN m")[0] == 50
        asked = f"SELECT r.a, m.y * 2 AS y FROM ({every}) r JOIN m ON m.a = r.a"
        assert trained(f"RETRAIN m FROM ({asked}) USING max_rows = 70")[0] == 70
        assert trained("RETRAIN m FROM (SELECT i AS a, 2.0 * i AS y FROM range(30) r(i))")[0] == 30
        with pytest.raises(mindsql.Error, match="max_rows"):
            con.execute(f"CREATE MODEL n FROM ({every}) PREDICT y USING max_rows = 0")
