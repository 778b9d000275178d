"""Models as SQL: DuckDB's answers equal the predictor's, whatever the rows hold."""

from __future__ import annotations

import ast
import math
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits
from trained import Model, train

from mindsql.engine import Translation
from mindsql_engines.sklearn import models, sql
from mindsql_engines.sklearn.sql import trees

ROWS = 500
CITIES = [
    "Zürich",
    "O'Brien",
    'a "quoted" one',
    "北京",
    "",
    "Straße",
    "STRASSE",
    "é",
    "e\u0301",
    "x" * 40,
    "\\n",
    "{}[]",
]

_LISTED = ", ".join("'" + city.replace("'", "''") + "'" for city in CITIES)

_MANY = ", ".join(f"'v{at}'" for at in range(100))

# A column of each role and of the types that come up, with NULLs where training may see them.
_TRAINING = f"""
    SELECT
        (hash(i, 1) % 10000 / 100.0)::DECIMAL(9, 2) AS price,
        CASE WHEN i % 9 THEN (hash(i, 2) % 2000)::INTEGER - 1000 END AS "Größe (""x"")",
        (hash(i, 3) % 1000000 / 1e6)::FLOAT AS small,
        (1700000000 + hash(i, 4) % 1000)::BIGINT AS epoch,
        CASE WHEN i % 7 THEN (hash(i, 5) % 100000 / 8.0)::VARCHAR END AS written,
        hash(i, 6) % 3 = 0 AS flag,
        [{_LISTED}][1 + (hash(i, 7) % {len(CITIES)})::INTEGER] AS city,
        CASE WHEN i % 5 THEN ['low', 'middle', 'high'][1 + (hash(i, 8) % 3)::INTEGER] END AS level,
        (['yes', 'no'][1 + (hash(i, 9) % 2)::INTEGER])::ENUM('no', 'yes') AS answer,
        ('v' || (sqrt(hash(i, 10) % 6000))::INTEGER)::ENUM({_MANY}) AS many,
        CASE WHEN i % 11 THEN DATE '2001-01-01' + (hash(i, 11) % 9000)::INTEGER END AS born,
        TIMESTAMP '1960-06-01' + to_microseconds((hash(i, 12) % 3000000000000000)::BIGINT) AS seen,
        (TIME '00:00:00' + to_seconds((hash(i, 13) % 86400)::BIGINT)) AS clock,
    FROM range({ROWS}) r(i)"""
_SIGNAL = """(price / 10 + coalesce("Größe (""x"")", 0) / 200 + coalesce(TRY_CAST(written AS DOUBLE), 0) / 4000
    + flag::INTEGER * 2 + CASE city WHEN 'O''Brien' THEN 4 WHEN '北京' THEN -3 ELSE 0 END
    + CASE level WHEN 'high' THEN 3 ELSE 0 END + CASE answer WHEN 'yes' THEN 1 ELSE -1 END
    + hash(price, many) % 100 / 50.0)::DOUBLE"""
_TARGETS = {
    "y": (_SIGNAL, "DOUBLE"),
    "f": (f"({_SIGNAL})::FLOAT", "FLOAT"),
    "count": (f"greatest({_SIGNAL}, 0)::INTEGER + 1", "INTEGER"),
    "b": (f"{_SIGNAL} > 8", "BOOLEAN"),
    "c": (f"CASE WHEN {_SIGNAL} < 5 THEN 'it''s' WHEN {_SIGNAL} < 10 THEN 'ö' ELSE '' END", "VARCHAR"),
    "n": (f"CASE WHEN {_SIGNAL} < 5 THEN -1 WHEN {_SIGNAL} < 10 THEN 0 ELSE 7 END", "INTEGER"),
    "d": (f"CASE WHEN {_SIGNAL} < 5 THEN 0.50 ELSE 1.25 END", "DECIMAL(3,2)"),
    "e": (f"(CASE WHEN {_SIGNAL} < 8 THEN 'yes' ELSE 'no' END)::ENUM('no', 'yes')", "ENUM('no', 'yes')"),
}
OTHER_TYPES = {
    "price": ["DOUBLE", "HUGEINT", "DECIMAL(38,4)", "FLOAT", "BIGINT", "DECIMAL(18,6)"],
    "epoch": ["DOUBLE", "HUGEINT", "UBIGINT", "INTEGER", "DECIMAL(18,3)"],
    "small": ["DOUBLE", "DECIMAL(12,8)", "INTEGER"],
    "written": ["JSON"],
    "answer": ["VARCHAR"],
    "level": ["ENUM('low', 'high', 'new')", "VARCHAR COLLATE NOCASE"],
    "born": ["TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP_S"],
    "seen": ["DATE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMPTZ"],
}


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """A database with the training rows as `training`, and edge rows as `edges`."""
    con = duckdb.connect(config={"threads": 1})
    targets = ", ".join(f"{text} AS {name}" for name, (text, _) in _TARGETS.items())
    con.execute(f"CREATE TABLE training AS SELECT *, {targets} FROM ({_TRAINING})")
    features = inputs_of(con)
    con.execute(f"CREATE TABLE edges AS SELECT {', '.join(features)} FROM training LIMIT 40")
    edge_values = {
        "price": ["NULL", "0", "-0.01", "99999.99", "50", "12.5"],
        '"Größe (""x"")"': ["NULL", "0", "2147483647", "-2147483648", "1"],
        "small": ["NULL", "0", "'nan'", "'inf'", "'-inf'", "3.4e38", "-3e38", "1e-45", "0.5"],
        "epoch": ["NULL", "0", "9223372036854775807", "-9223372036854775808", "1700000000"],
        "written": ["NULL", "''", "'x'", "' 12.5 '", "'1e300'", "'1e999'", "'-inf'", "'nan'", "'1_000'", "'٣'", "'+5'"],
        "flag": ["NULL", "true"],
        "city": ["NULL", "'new'", "'zürich'", "'é'", "' '", "chr(0)"],
        "level": ["NULL", "''", "'HIGH'", "'high '"],
        "answer": ["NULL"],
        "many": ["NULL", "'v1'", "'v99'"],
        "born": ["NULL", "'infinity'", "'-infinity'", "'5000000-01-01'", "'0044-03-15 (BC)'", "'9999-12-31'"],
        "seen": ["NULL", "'infinity'","'294247-01-10 04:00:54'", "'290309-12-22 (BC)'", "'1969-12-31 23:59:59'"],
        "clock": ["NULL", "'24:00:00'", "'23:59:59.999999'"],
    }  # fmt: skip
    for name, values in edge_values.items():
        for at, value in enumerate(values):
            con.execute(
                f"INSERT INTO edges SELECT * REPLACE ({value} AS {name}) FROM "
                f"(SELECT {', '.join(features)} FROM training LIMIT 2 OFFSET {3 * at})"
            )
    con.execute(f"INSERT INTO edges ({features[0]}) VALUES (NULL)")
    return con


def inputs_of(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The quoted feature columns."""
    names = con.sql("SELECT * FROM training LIMIT 0").columns
    return [_quoted(name) for name in names if name not in _TARGETS]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@cache
def trained(estimator: str | None, target: str, leave_out: tuple[str, ...] = (), using: str = "{}") -> Model:
    """A model of the training rows; `using` is written as a literal, so that it can be a key."""
    con = connection()
    features = [name for name in inputs_of(con) if name.strip('"') not in leave_out]
    relation = con.sql(f"SELECT {', '.join(features)}, {target} FROM training")
    types = {name: str(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}
    types[target] = _TARGETS[target][1]
    options: dict[str, Any] = {"test_size": 0, **ast.literal_eval(using)}
    if estimator is not None:
        options["estimator"] = estimator
    with threadpool_limits(1):
        return train(relation.to_arrow_table(), types, target, **options)


def translated(model: Model) -> Translation:
    """The model as SQL, which it must have."""
    found = model.engine().translation({})
    assert found is not None
    return found


def in_sql(translation: Translation, source: str) -> str:
    """The query that computes the outputs over a table, steps nested as subqueries."""
    for level in translation.steps:
        assert all(name.startswith("__") for name in level)
        made = ", ".join(f"{sql} AS {_quoted(name)}" for name, sql in level.items())
        source = f"(SELECT *, {made} FROM {source})"
    outputs = ", ".join(f"{sql} AS {_quoted(name)}" for name, sql in translation.outputs.items())
    return f"SELECT {outputs} FROM {source}"


def differences(model: Model, source: str) -> list[tuple[Any, ...]]:
    """Rows where the two ways do not agree."""
    con = connection()
    translation = translated(model)
    target = model.summary.outputs.names[0]
    assert target in translation.outputs
    names = list(translation.outputs)
    rows = con.sql(
        f"SELECT {', '.join(map(_quoted, model.summary.inputs.names))} FROM {source}"
    ).to_arrow_table()
    expected = model.answers(rows, names)
    answers = con.sql(in_sql(translation, source))
    kinds = [str(kind).replace(" ", "") for kind in answers.types]
    assert kinds == [dict(model.summary.outputs.pairs())[name].replace(" ", "") for name in names]
    found = answers.to_arrow_table()
    wrong = []
    for name in names:
        for at, (a, b) in enumerate(zip(expected[name].to_pylist(), found[name].to_pylist(), strict=True)):
            if not same(a, b):
                wrong.append((name, at, a, b, str(rows.slice(at, 1))))
    return wrong


def same(a: Any, b: Any) -> bool:
    """Labels are equal, numbers within 1e-9."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return type(a) is type(b) and a == b


LINEAR_REGRESSORS: list[tuple[str, dict[str, Any]]] = [
    ("LinearRegression", {"test_size": 0.3}),
    ("Ridge", {}),
    ("Lasso", {}),
    ("ElasticNetCV", {}),
    ("Lars", {"n_nonzero_coefs": 8}),
    ("LassoLars", {}),
    ("BayesianRidge", {}),
    ("HuberRegressor", {"max_iter": 1000}),
    ("OrthogonalMatchingPursuit", {}),
    ("SGDRegressor", {}),
    ("PassiveAggressiveRegressor", {}),
    ("LinearSVR", {}),
    ("SVR", {"kernel": "linear"}),
]
LINEAR_CLASSIFIERS: list[tuple[str, dict[str, Any]]] = [
    ("LogisticRegression", {"test_size": 0.3}),
    ("RidgeClassifier", {}),
    ("SGDClassifier", {}),
    ("SGDClassifier", {"loss": "log_loss"}),
    ("Perceptron", {}),
    ("PassiveAggressiveClassifier", {}),
    ("LinearSVC", {}),
    ("LinearDiscriminantAnalysis", {}),
    ("GaussianNB", {}),
    ("BernoulliNB", {}),
    ("MultinomialNB", {}),
    ("ComplementNB", {}),
]
TREES: dict[str, list[dict[str, Any]]] = {
    "DecisionTree{}": [{"max_depth": 6}, {"max_leaf_nodes": 60, "min_samples_leaf": 2}],
    "ExtraTree{}": [{"max_depth": 6}],
    "RandomForest{}": [{"n_estimators": 6, "max_depth": 4}, {"n_estimators": 30, "max_depth": 3, "max_leaf_nodes": 6}],
    "ExtraTrees{}": [{"n_estimators": 5, "max_depth": 5}],
    "Bagging{}": [{"n_estimators": 2, "max_features": 0.5, "max_samples": 0.3}],
    "GradientBoosting{}": [{"n_estimators": 12}, {"n_estimators": 40, "max_depth": 1, "init": "zero"}],
    "HistGradientBoosting{}": [{"max_iter": 4, "min_samples_leaf": 5}],
    "LGBM{}": [{"n_estimators": 4, "min_child_samples": 5}, {"n_estimators": 9, "num_leaves": 7, "max_depth": 3}],
}  # fmt: skip


@pytest.mark.parametrize(("estimator", "target"), [("Ridge", "y"), ("LogisticRegression", "c")])
def test_a_sparse_matrix_holds_the_same_numbers(estimator: str, target: str) -> None:
    model = trained(estimator, target, using="{'test_size': 0.3}" if target == "c" else "{}")
    encoder = models.load_parts(model.engine().model_storage, False)[2]
    assert encoder is not None and encoder.is_sparse()
    for table in ("training", "edges"):
        rows = connection().sql(f"SELECT {', '.join(map(_quoted, model.summary.inputs.names))} FROM {table}")
        found = rows.to_arrow_table().combine_chunks()
        arrays = {name: found[name].chunk(0) for name in found.column_names}
        matrix = encoder.matrix(arrays, found.num_rows)
        assert (encoder.sparse(arrays, found.num_rows).toarray() == matrix).all()


@pytest.mark.parametrize(("estimator", "using"), LINEAR_REGRESSORS)
def test_linear_regressors(estimator: str, using: dict[str, Any]) -> None:
    model = trained(estimator, "y", using=repr(using))
    assert not differences(model, "training") + differences(model, "edges")


@pytest.mark.parametrize(("estimator", "using"), LINEAR_CLASSIFIERS)
@pytest.mark.parametrize("target", ["b", "c"])
def test_linear_classifiers_and_naive_bayes(estimator: str, using: dict[str, Any], target: str) -> None:
    model = trained(estimator, target, using=repr(using))
    assert not differences(model, "training") + differences(model, "edges")


@pytest.mark.parametrize("estimator", ["PoissonRegressor", "GammaRegressor", "TweedieRegressor"])
def test_generalised_linear_models(estimator: str) -> None:
    model = trained(estimator, "count", using="{'task': 'regression'}")
    assert not differences(model, "training") + differences(model, "edges")


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("target", ["y", "b", "c"])
def test_trees(name: str, target: str) -> None:
    for using in TREES[name]:
        model = trained(
            name.format("Regressor" if target == "y" else "Classifier"), target, using=repr(using)
        )
        assert not differences(model, "training") + differences(model, "edges")


@pytest.mark.parametrize("target", ["b", "c", "n", "d", "e"])
@pytest.mark.parametrize("estimator", ["LogisticRegression", "DecisionTreeClassifier"])
def test_labels_of_every_type(estimator: str, target: str) -> None:
    using = (
        "{'task': 'classification', 'max_leaf_nodes': 9}"
        if "Tree" in estimator
        else "{'task': 'classification'}"
    )
    model = trained(estimator, target, using=using)
    assert not differences(model, "training") + differences(model, "edges")


@pytest.mark.parametrize("estimator", ["Ridge", "DecisionTreeRegressor"])
def test_a_float_target(estimator: str) -> None:
    using = "{'max_leaf_nodes': 9, 'test_size': 0.3}" if "Tree" in estimator else "{'test_size': 0.3}"
    model = trained(estimator, "f", using=using)
    assert not differences(model, "training") + differences(model, "edges")


@pytest.mark.parametrize("loss", ["exponential", "log_loss"])
def test_losses_of_boosting(loss: str) -> None:
    model = trained("GradientBoostingClassifier", "b", using=repr({"n_estimators": 9, "loss": loss}))
    assert not differences(model, "training") + differences(model, "edges")


@pytest.mark.parametrize(
    ("estimator", "using"),
    [
        ("HistGradientBoostingRegressor", {"max_iter": 4, "loss": "poisson", "max_leaf_nodes": 9}),
        ("LGBMRegressor", {"n_estimators": 4, "objective": "poisson", "num_leaves": 9}),
    ],
)
def test_a_logarithmic_link_of_boosting(estimator: str, using: dict[str, Any]) -> None:
    model = trained(estimator, "count", using=repr({**using, "task": "regression"}))
    assert not differences(model, "training") + differences(model, "edges")


@pytest.mark.parametrize("target", ["b", "c"])
@pytest.mark.parametrize("depth", [1, None])
def test_adaboost(target: str, depth: int | None) -> None:
    """A member that makes no mistake, such as a tree without a limit, is the last."""
    member = {"estimator": "DecisionTreeClassifier", "max_depth": depth}
    model = trained("AdaBoostClassifier", target, using=repr({"n_estimators": 12, "base_estimator": member}))
    assert not differences(model, "training") + differences(model, "edges")


@pytest.mark.parametrize("estimator", ["Ridge", "HistGradientBoostingRegressor"])
@pytest.mark.parametrize("name", OTHER_TYPES)
def test_other_types_of_the_same_family(estimator: str, name: str) -> None:
    using = {"max_iter": 4, "min_samples_leaf": 5} if "Hist" in estimator else {}
    model = trained(estimator, "y", using=repr(using))
    for kind in OTHER_TYPES[name]:
        kind, _, collation = kind.partition(" COLLATE ")
        value = f"TRY_CAST({_quoted(name)} AS {kind})" + (f" COLLATE {collation}" if collation else "")
        if kind == "JSON":
            value = f"TRY_CAST(nullif({_quoted(name)}, 'x') AS JSON)"
        columns = ", ".join(inputs_of(connection()))
        rows = f"(SELECT {columns} FROM edges UNION ALL SELECT {columns} FROM training LIMIT 300)"
        assert not differences(model, f"(SELECT * REPLACE ({value} AS {_quoted(name)}) FROM {rows})"), kind


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(width=64) | st.integers(-(2**70), 2**70).map(float),
            st.none() | texts | st.floats().map(str),
            st.none() | texts | st.sampled_from(CITIES),
            st.none() | st.datetimes(),
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=40,
    )
)  # fmt: skip
def test_any_values(rows: list[tuple[Any, ...]]) -> None:
    con = connection()
    table = pa.table(
        {
            "price": pa.array([row[0] for row in rows], pa.float64()),
            "small": pa.array([row[0] for row in rows[::-1]], pa.float64()),
            "written": pa.array([row[1] for row in rows], pa.string()),
            "city": pa.array([row[2] for row in rows], pa.string()),
            "seen": pa.array([row[3] for row in rows], pa.timestamp("us")),
            "flag": pa.array([row[4] for row in rows], pa.bool_()),
        }
    )
    con.register("given", table)
    rest = ", ".join(name for name in inputs_of(con) if name.strip('"') not in table.column_names)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE probe AS SELECT given.*, {rest} FROM given POSITIONAL JOIN "
        "(SELECT * FROM training LIMIT (SELECT count(*) FROM given))"
    )
    for estimator, target, using in (
        ("Ridge", "y", {}),
        ("LogisticRegression", "c", {}),
        ("DecisionTreeRegressor", "y", {"max_depth": 6}),
        ("HistGradientBoostingClassifier", "b", {"max_iter": 4, "min_samples_leaf": 5}),
    ):
        assert not differences(trained(estimator, target, using=repr(using)), "probe")


def test_what_has_no_sql_form() -> None:
    for estimator, using, why in (
        ("KNeighborsRegressor", "{}", "KNeighborsRegressor has no such form"),
        ("SVR", "{}", "the kernel rbf is not linear"),
        ("BaggingRegressor", "{'base_estimator': 'Ridge'}", "its members are not trees"),
    ):
        assert trained(estimator, "y", using=using).engine().translation({}) == why


def test_a_text_column_has_no_sql_form() -> None:
    words = [f"word{at % 7} and number {at} of {at * 31 % 101}" for at in range(100)]
    table = pa.table({"words": words, "y": [float(at % 7) for at in range(100)]})
    model = train(table, {"words": "VARCHAR", "y": "DOUBLE"}, "y", estimator="Ridge")
    assert model.engine().translation({}) == "a text column is taken apart into n-grams"


def test_the_budget() -> None:
    large = trained("RandomForestRegressor", "y", using="{'n_estimators': 20, 'max_depth': 7}")
    assert large.engine().translation({}) == "it has more than 400 leaves"
    small = translated(trained("RandomForestRegressor", "y", using="{'n_estimators': 6, 'max_depth': 4}"))
    assert small.kind == "6 trees, 96 leaves"
    assert 0 < trees.MOST_LEAVES <= 600
    assert len(in_sql(small, "t")) < sql.MOST_TEXT


def test_many_trees_nest_no_deeper_than_few() -> None:
    model = trained("GradientBoostingRegressor", "y", using="{'n_estimators': 150, 'max_depth': 1}")
    assert not differences(model, "edges")
    assert (
        max(text.count("CASE") for level in translated(model).steps for text in level.values())
        <= trees.AT_ONCE
    )


def test_equal_votes_are_decided_as_the_estimator_decides() -> None:
    model = trained(
        "RandomForestClassifier",
        "b",
        using="{'n_estimators': 4, 'max_depth': 3, 'bootstrap': False, 'min_samples_leaf': 1}",
    )
    assert not differences(model, "training")
