"""Owns what is told about a model and its trainings, as JSON."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import mindsql_grammar as grammar
from mindsql import metrics
from mindsql.errors import StatementError
from mindsql.jobs import Job
from mindsql.metrics import Metric
from mindsql.secrets import redact_options
from mindsql.server.http import inputs, stored, training
from mindsql.server.http.faults import UnprocessableError
from mindsql.server.http.parameters import ESTIMATOR
from mindsql.server.http.predicting import predict
from mindsql.server.service import RemoteSession, Service
from mindsql.snapshot import Model, Version

if TYPE_CHECKING:
    import pyarrow as pa


# Models -------------------------------------------------------------------------------------------------------


def brief(model: Model) -> dict[str, Any]:
    """A line of the list of models."""
    version = _shown(model)
    return {
        "name": model.name,
        "project": model.project,
        "status": version.status,
        "version": version.number,
        "engine": version.engine,
        "target": version.outputs.names[0] if version.outputs else version.target,
        "task": version.summary.get("task"),
        "accuracy": version.summary.get("accuracy"),
    }


def model(model: Model) -> dict[str, Any]:
    """All that is known of a model without asking its engine."""
    version, noted_ = _shown(model), model.untrained()
    summary = version.summary
    return {
        **brief(model),
        "inputs": _columns(version.inputs.pairs()),
        "outputs": _columns(version.outputs.pairs()),
        "classes": _classes(version),
        "metrics": summary.get("metrics", {}),
        "baseline": summary.get("baseline", {}),
        "rows": summary.get("rows"),
        "query": version.query,
        "options": redact_options(dict(version.options)),
        "error": version.error,
        "notes": summary.get("notes", []),
        "versions": [
            {"version": v.number, "status": v.status, "active": v.number == model.active}
            for v in model.versions
        ],
        "untrained": noted(noted_) if noted_ is not None else None,
    }


def _shown(model: Model) -> Version:
    """The version that answers, else the last."""
    return next((v for v in model.versions if v.number == model.active), model.versions[-1])


def _classes(version: Version) -> list[Any]:
    """What the target may be, as predictions give it: kept as texts, whatever the target's type."""
    found: list[Any] = version.summary.get("classes", [])
    if not version.outputs or version.outputs[0].family == "text":
        return found
    return [_plain(text.lower()) if text in ("True", "False") else _plain(text) for text in found]


def _columns(pairs: Any) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in pairs]


def noted(version: Version) -> dict[str, Any]:
    """An untrained version."""
    return {
        "status": version.status,
        "version": version.number,
        "target": version.target,
        "class": version.options.get(ESTIMATOR),
        "params": {key: value for key, value in redact_options(dict(version.options)).items() if key != ESTIMATOR},
        "opts": preparation_of(version),
    }


def parameters(session: RemoteSession, model: Model) -> dict[str, Any]:
    """The parameters of a model's estimator, those for the next training if some are noted."""
    version = training.latest(model)
    if version.status != "complete":
        engine, given = version.engine, redact_options(dict(version.options))
        common = {option.name for option in session.connection.options(engine, {})}
        own = [option for option in session.connection.options(engine, given) if option.name not in common]
        return {option.name: given.get(option.name, option.default) for option in own}
    found = _part(session, version, "model")
    if found is None:
        return dict(redact_options(dict(version.options)))
    return {name: _plain(value) for name, value, *_ in found}


def everything(session: RemoteSession, model: Model) -> dict[str, Any]:
    """Gramex' `_params`: options, class and parameters, and what training found out."""
    version = training.latest(model)
    summary = version.summary
    info = dict(_part(session, version, "info") or []) if version.status == "complete" else {}
    attributes = {
        "classes_": _classes(version),
        "feature_names_in_": version.inputs.names,
        "n_features_in_": len(version.inputs),
        "metrics_": summary.get("metrics", {}),
        "baseline_": summary.get("baseline", {}),
        "n_rows_": summary.get("rows"),
    }
    return {
        "opts": preparation(model)["opts"],
        "params": {
            "class": version.options.get(ESTIMATOR) or info.get("estimator"),
            "params": parameters(session, model),
        },
        "attrs": attributes if version.status == "complete" else {},
    }


def preparation(model: Model) -> dict[str, Any]:
    """Gramex' `_opts`: what is done to the stored rows before training."""
    return {"opts": preparation_of(training.latest(model))}


def preparation_of(version: Version) -> dict[str, Any]:
    """The preparation of a version, with its target."""
    return {**asdict(stored.Preparation.of(version.query)), "target_col": version.target}


def _part(session: RemoteSession, version: Version, part: str) -> list[tuple[Any, ...]] | None:
    name = grammar.quote_name((version.project, version.model))
    try:
        return session.execute(f"DESCRIBE {name}.{version.number}.{part}").fetchall()
    except StatementError:
        return None  # its engine has no such part
    finally:
        session.end()


def _plain(text: Any) -> Any:
    with suppress(ValueError, TypeError):
        return json.loads(text)
    return text


def artifact(session: RemoteSession, version: Version) -> tuple[str, bytes]:
    """The name and the content of a model's file; of several, packed ones. Never a pickle's own format."""
    files = session.connection.artifacts(version)
    models = {name: content for name, content in files.items() if not name.endswith(".json")}
    if len(models) == 1:
        name, content = next(iter(models.items()))
        return name, content
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return "model.zip", sink.getvalue()


# Scores -------------------------------------------------------------------------------------------------------


def score(version: Version, metric: Metric | None) -> float | None:
    """A score that training kept, on rows that it held out; None when it held out none.

    Raises:
        UnprocessableError: It kept others.
    """
    if metric is None:
        return version.summary.get("accuracy")
    kept: Mapping[str, float] = version.summary.get("metrics", {})
    # Of several classes, f1 is f1_macro.
    found = kept.get(metric.name, kept.get(f"{metric.name}_macro"))
    if found is None and metric.negated and (error := kept.get(metric.name.removeprefix("neg_"))) is not None:
        found = -error
    if found is None:
        raise UnprocessableError(
            f"the training kept no {metric.name}",
            hint=f"it kept: {', '.join(kept)}; others: POST ?_action=score&_metric=… with rows",
        )
    return found


def score_on(session: RemoteSession, version: Version, rows: pa.Table, truth: str, metric: Metric | None) -> float:
    """A score on posted rows whose column `truth` has what should be answered. Rows without it are left out."""
    import pyarrow.compute as pc

    task = version.task
    if metric is None and not metrics.for_task(task):
        raise UnprocessableError(f"a model for {task} has no score by itself", hint="name one: _metric=…")
    name = next((name for name in rows.column_names if name.casefold() == truth.casefold()), None)
    if name is None:
        raise UnprocessableError(
            f'the rows have no column "{truth}" to compare with', hint="target_col names it"
        )
    known = rows.filter(pc.is_valid(rows.column(name)))
    if known.num_rows == 0:
        raise UnprocessableError(f'no row has a value in "{name}"')
    beside = known.drop_columns([name])
    fitted = inputs.fit(beside, version, stored.left_out(session, version))
    chosen = metric or metrics.for_task(task)[0]
    actual = known.column(name).to_pylist()
    if chosen.wants == "probabilities":
        explain = version.outputs.find(f"{version.outputs[0].name}_explain")
        found = metrics.probabilities(predict(session, version, fitted, explain.name).to_pylist()) if explain else None
        if found is None:
            raise UnprocessableError(f"{chosen.name} needs probabilities, and this model gives none")
        return metrics.score(chosen, actual, found[1], {}, found[0])
    answers = predict(session, version, fitted)
    if answers.null_count:
        raise UnprocessableError(f"{answers.null_count} predictions are NULL, and NULL is no answer to score")
    return metrics.score(chosen, actual, answers.to_pylist(), {})


# Jobs ---------------------------------------------------------------------------------------------------------


def job(job: Job, service: Service) -> dict[str, Any]:
    """A training in the background, with its score once it is complete."""
    told: dict[str, Any] = {
        "id": job.id,
        "statement": job.kind,
        "project": job.project,
        "model": job.model,
        "version": job.version,
        "status": job.status,
        "phase": job.phase,
        "progress": job.progress,
        "error": job.error,
        "started": _time(job.started),
        "finished": _time(job.finished),
    }
    if job.status == "complete":
        trained = service.root.snapshot().model(job.project, job.model)
        versions = trained.versions if trained is not None else ()
        told["score"] = next((v.summary.get("accuracy") for v in versions if v.number == job.version), None)
    return told


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment else None
