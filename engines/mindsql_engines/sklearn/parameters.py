"""Owns how an estimator's own parameter constraints become typed options, and options become parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from numbers import Integral
from typing import Any, cast

from mindsql.engine import Option, OptionType
from mindsql.errors import StatementError, UnknownNameError
from mindsql_engines.sklearn import estimators

# Set by the engine itself, without meaning in SQL, or not expressible in it.
_OWN = estimators.names_in(
    "random_state verbose warm_start categorical_features memory connectivity copy copy_X copy_x novelty "
    "kernel_params func inverse_func transformer callback store_cv_results"
)
_PARAMETER = re.compile(r"^(\w+)[^\n]*\n((?:[ \t]+[^\n]*\n?|\n)+)", re.M)
"""A parameter's name, at the beginning of a line, and the indented lines below."""
_SENTENCE = re.compile(r"\.\s(?=[A-Z.`])|:\s(?=[-*`.])|\s\.\. |\s- ")
_INNER = frozenset({"estimator", "final_estimator", "regressor"})
_LABEL = frozenset({"constant", "pos_label", "outlier_label"})
_LISTS_OF_ESTIMATORS = "estimators"


def option_name(parameter: str) -> str:
    """The name of a parameter in USING."""
    return estimators.BASE_ESTIMATOR if parameter == "estimator" else parameter


def _constraints(cls: Any, parameter: str) -> list[Any]:
    from sklearn.utils._param_validation import Hidden, make_constraint

    given = getattr(cls, "_parameter_constraints", {}).get(parameter, [])
    if isinstance(given, str):  # "no_validation"
        return []
    return [make_constraint(one) for one in given if not isinstance(one, Hidden)]


def _kind(constraint: Any) -> str:
    name = type(constraint).__name__
    if name == "Interval":
        return "integer" if constraint.type is Integral else "float"
    if name == "_InstancesOf":
        wanted = constraint.type
        if issubclass(wanted, bool):
            return "boolean"
        if wanted is str:
            return "string"
        if issubclass(wanted, Integral) or wanted is Integral:
            return "integer"
        if wanted in (list, tuple):
            return "array"
        if issubclass(wanted, Mapping):
            return "object"
        return "float" if wanted.__name__ == "Real" else ""
    kinds = {
        "_Booleans": "boolean",
        "StrOptions": "string",
        "_NoneConstraint": "null",
        "_ArrayLikes": "array",
        "_CVObjects": "integer",
        "_IterablesNotString": "array",
    }
    if name == "Options":
        return "integer" if constraint.type is Integral else "float"
    return kinds.get(name, "")


def _sql_default(value: Any) -> Any:
    if isinstance(value, str) and value in ("deprecated", "warn"):
        return None
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, tuple | list) and all(isinstance(item, int | float | str) for item in value):
        return list(value)
    return None


def _option(cls: Any, parameter: str, default: Any) -> Option | None:
    if parameter in _INNER or parameter == _LISTS_OF_ESTIMATORS:
        text = "estimators by class name, or as objects with their parameters"
        listed: OptionType = "array" if parameter == _LISTS_OF_ESTIMATORS else "any"
        return Option(option_name(parameter), listed, description=f"{cls.__name__}: {text}")
    constraints = _constraints(cls, parameter)
    kinds = [kind for kind in map(_kind, constraints) if kind]
    values = [kind for kind in kinds if kind != "null"]
    if constraints and not values:
        return None  # a function or an object, which SQL cannot give
    default = _sql_default(default)
    single = set(values)
    nullable = "null" in kinds and default is not None
    kind: str = "any"
    choices: tuple[Any, ...] = ()
    low = high = None
    if len(single) == 1 and not nullable and parameter not in _LABEL and parameter != "class_weight":
        kind = values[0]
        if kind == "string":
            choices = tuple(sorted({word for c in constraints for word in getattr(c, "options", ())}))
        elif kind in ("integer", "float") and len(values) == 1:
            interval = next(c for c in constraints if _kind(c) == kind)
            sides = getattr(interval, "closed", "neither")
            left, right = getattr(interval, "left", None), getattr(interval, "right", None)
            low = float(left) if left is not None and (sides in ("left", "both")) else None
            high = float(right) if right is not None and (sides in ("right", "both")) else None
            low, high = (None if v is not None and abs(v) == float("inf") else v for v in (low, high))
    described = _meanings(cls).get(parameter, f"parameter of {cls.__name__}")
    return Option(
        parameter,
        cast(OptionType, kind),
        default,
        choices=choices,
        description=described,
        minimum=low,
        maximum=high,
    )


@lru_cache(maxsize=64)
def _meanings(cls: Any) -> dict[str, str]:
    """The first sentence of what the estimator's documentation says of each parameter."""
    text = inspect.getdoc(cls) or ""
    _, _, section = text.partition("Parameters\n----------\n")
    section = section.partition("\nAttributes\n---")[0]
    found = {}
    for name, about in _PARAMETER.findall(section):
        words = " ".join(about.split())
        found[name] = _SENTENCE.split(words, maxsplit=1)[0].rstrip(".:").replace("`", "")
    return found


@lru_cache(maxsize=64)
def options(name: str) -> tuple[Option, ...]:
    """The typed options of an estimator's parameters.

    The default of each is the estimator's own where SQL can write it, and else None: giving the default is
    the same as not giving it.
    """
    cls = estimators.load_class(name)
    if hasattr(cls, "OPTIONS"):
        own: tuple[Option, ...] = cls.OPTIONS
        return own
    made = estimators.DEFAULTS.get(estimators.lookup(name), {})
    found = []
    for parameter, default in _defaults(cls).items():
        if parameter not in _OWN:
            option = _option(cls, parameter, made.get(parameter, default))
            if option is not None:
                found.append(option)
    return tuple(found)


def union(names: Iterable[str]) -> tuple[Option, ...]:
    """Options of several estimators of which one is chosen later; all unset by default."""
    merged: dict[str, Option] = {}
    for name in names:
        for option in options(name):
            bare = Option(option.name, option.type, description=option.description)
            if option.name in merged and merged[option.name].type != option.type:
                bare = Option(option.name, "any", description=option.description)
            merged[option.name] = bare
    return tuple(merged.values())


def _defaults(cls: Any) -> dict[str, Any]:
    signature = inspect.signature(cls.__init__)
    return {
        name: (None if parameter.default is inspect.Parameter.empty else parameter.default)
        for name, parameter in signature.parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }


def build(name: str, given: Mapping[str, Any], random_state: int | None) -> Any:
    """An unfitted estimator with the given parameters.

    Args:
        name: A class name of the list.
        given: Option name → value; a value equal to the default counts as not given.
        random_state: For the estimators that take one.

    Raises:
        UnknownNameError: A parameter that the estimator does not have.
        StatementError: A value that does not fit.
    """
    name = estimators.lookup(name)
    cls = estimators.load_class(name)
    known = {option.name: option for option in options(name)}
    for key in given:
        if key not in known:
            raise UnknownNameError.of(f"parameter of {name}", key, known)
    if hasattr(cls, "OPTIONS"):
        return cls(**given, random_state=random_state)
    every = _defaults(cls)
    values: dict[str, Any] = dict(estimators.DEFAULTS.get(name, {}))
    for parameter in every:
        key = option_name(parameter)
        if key not in given or key not in known:
            continue
        if _is_given(given[key], known[key].default):
            values[parameter] = _value(parameter, given[key], random_state)
    inner = estimators.default_inner(name)
    if inner is not None and "estimator" not in values:
        values["estimator"] = build(inner, {}, random_state)
    if _LISTS_OF_ESTIMATORS in every and _LISTS_OF_ESTIMATORS not in values:
        hint = "for example estimators = ['LogisticRegression', 'RandomForestClassifier']"
        raise StatementError(f"{name} needs the option estimators", hint=hint)
    if "random_state" in every:
        values["random_state"] = random_state
    estimator = cls(**values)
    check(estimator)
    return estimator


def _is_given(value: Any, default: Any) -> bool:
    return not (value == default and type(value) is type(default))


def chosen(name: str, given: Mapping[str, Any]) -> list[str]:
    """The parameters that the statement sets to something else than their default."""
    return [o.name for o in options(name) if o.name in given and _is_given(given[o.name], o.default)]


def _value(parameter: str, value: Any, random_state: int | None) -> Any:
    if parameter in _INNER:
        return _inner(value, random_state)
    if parameter == _LISTS_OF_ESTIMATORS:
        if not isinstance(value, list) or not value:
            raise StatementError("estimators takes an array of class names or objects")
        built = [_inner(item, random_state) for item in value]
        return [(f"{type(item).__name__.lower()}{at}", item) for at, item in enumerate(built, 1)]
    if parameter == "class_weight" and isinstance(value, Mapping):
        return dict(value)
    if parameter == "hidden_layer_sizes" and isinstance(value, list):
        return tuple(value)
    return value


def _inner(value: Any, random_state: int | None) -> Any:
    name = estimators.inner_name(value)
    extra = {key: v for key, v in value.items() if key != "estimator"} if isinstance(value, Mapping) else {}
    return build(name, extra, random_state)


def check(estimator: Any) -> None:
    """Let the estimator check its own parameters, as its `fit` would."""
    validate = getattr(estimator, "_validate_params", None)
    if validate is None:
        return
    try:
        validate()
    except ValueError as error:
        wrong = [
            k for k, v in estimator.get_params(deep=False).items() if v == "None" and f"'{k}'" in str(error)
        ]
        hint = f"for no value write {option_name(wrong[0])} = NULL" if wrong else None
        raise StatementError(str(error).replace("'estimator'", "'base_estimator'"), hint=hint) from error


def use_labels(estimator: Any, classes: list[str]) -> None:
    """Put class codes for class labels where a parameter names them (`class_weight`, `pos_label` …)."""
    codes = {label: code for code, label in enumerate(classes)}
    changed: dict[str, Any] = {}
    for parameter, value in estimator.get_params(deep=False).items():
        if parameter == "class_weight" and isinstance(value, Mapping):
            unknown = [str(label) for label in value if str(label) not in codes]
            if unknown:
                raise UnknownNameError.of("class in class_weight", unknown[0], codes)
            changed[parameter] = {codes[str(label)]: float(weight) for label, weight in value.items()}
        elif (
            parameter in _LABEL
            and value is not None
            and not (parameter == "outlier_label" and value == "most_frequent")
        ):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if text not in codes:
                raise UnknownNameError.of(f"class in {parameter}", text, codes)
            changed[parameter] = codes[text]
    if changed:
        estimator.set_params(**changed)
