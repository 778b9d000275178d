"""Owns `/models/{name}`: what each verb does with a model, with the words of Gramex' MLHandler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

import mindsql_grammar as grammar
from mindsql.errors import suggest
from mindsql.server.http import columns, describing, forms, stored, training
from mindsql.server.http.answers import ARROW, CSV, JSON, NDJSON, Json
from mindsql.server.http.endpoint import Endpoint, known_metric, shown
from mindsql.server.http.faults import RequestError, UnprocessableError
from mindsql.server.http.parameters import ACTIONS, FLAGS, TARGET, Query, actions, choice, estimator
from mindsql.server.http.sql import Caller, Serving, answer
from mindsql.server.principal import Principal, Role
from mindsql.server.service import RemoteSession, Service
from mindsql.snapshot import Model

_VIEWS = ("_model", "_params", "_opts", "_cache", "_download")
_PREPARATION = ("include", "exclude", "nums", "cats", "dropna", "drop_duplicates")
_TRAINING = ("_action", "_retrain", TARGET, "wait", "_metric")
_PARTS = ("model", "cache", "opts")


# The verbs ----------------------------------------------------------------------------------------------------


async def get(endpoint: Endpoint) -> Response:
    """A prediction for the columns in the query string, or one of the views on the model."""
    query = endpoint.query
    views = [view for view in _VIEWS if query.flag(view)]
    if views or query.one("_action") == "score":
        return await _view(endpoint, views)
    rows = query.without(["_format", "_action"])
    if query.one("_action") not in (None, "predict"):
        raise RequestError("GET predicts and scores", hint="POST trains")
    if not rows.pairs:
        endpoint.form()  # it has no effect here, and must not be misspelt
        model = endpoint.model()
        return Json(await endpoint.run(lambda session: describing.model(model)))
    return await endpoint.predictions(lambda version: _from_query(rows))


def _from_query(rows: Query) -> Any:
    try:
        return columns.from_pairs(rows.pairs, columns.BodyLimits())
    except RequestError as error:  # columns of unequal length
        raise UnprocessableError(error.message, hint=error.hint) from error


async def _view(endpoint: Endpoint, views: list[str]) -> Response:
    query = endpoint.query
    if "_cache" in views and len(views) == 1:
        query.without(["_cache", "_format"]).none_left(["_format"])
        return await _rows(endpoint)
    query.without([*_VIEWS, "_action", "_metric"]).none_left([*_VIEWS, "_action", "_metric"])
    model = endpoint.model()
    if not views:
        version = endpoint.version()
        return Json({"score": describing.score(version, known_metric(query.one("_metric")))})
    if "_download" in views:
        endpoint.require(Role.WRITE)
        version = endpoint.version()
        name, content = await endpoint.run(lambda session: describing.artifact(session, version))
        disposition = f'attachment; filename="{name}"'
        return Response(
            content, headers={"Content-Disposition": disposition}, media_type="application/octet-stream"
        )
    if "_params" in views:
        return Json(await endpoint.run(lambda session: describing.everything(session, model)))
    if "_opts" in views:
        return Json(describing.preparation(model))
    return Json(await endpoint.run(lambda session: describing.parameters(session, model)))


async def _rows(endpoint: Endpoint) -> Response:
    """The training rows."""
    form = choice(endpoint.query, "_format", ("records", "csv", "arrow"), "records")
    project, name = endpoint.place()
    model = endpoint.service.root.snapshot().model(project, name)
    session = endpoint.service.open(endpoint.caller, "http")

    def run() -> Any:
        if stored.columns(session, project, name):
            return session.execute(f"SELECT * FROM {stored.table(project, name)}")
        query = training.latest(model).query if model is not None else None
        if query is None or stored.is_stored(training.latest(model or endpoint.model())):
            endpoint.model()
            return session.execute("SELECT 1 AS nothing WHERE false")
        return session.execute(f"SELECT * FROM ({query})")

    return await answer(
        endpoint.service,
        session,
        endpoint.request,
        run,
        forms.MEDIA[form],
        session.close,
        as_list=form == "records",
    )


async def post(endpoint: Endpoint) -> Response:
    """Predictions for the posted rows, a score on them, or a training with them."""
    query = endpoint.query
    kinds = actions(query)
    if kinds == ["predict"]:
        query.without(["_format", "_action", "_retrain"]).none_left(["_format", *_TRAINING])
        endpoint.version()
        return await endpoint.predictions(await endpoint.body())
    if kinds == ["score"]:
        query.without(["_action", "_retrain", "_metric", TARGET]).none_left(_TRAINING)
        return await _score(endpoint)
    endpoint.require(Role.WRITE)
    query.without(_TRAINING).none_left(_TRAINING)
    read = await endpoint.body()
    rows = await endpoint.run(lambda session: read(None))
    if rows is None and "append" in kinds:
        raise RequestError("there are no rows in the body", hint="append needs some")
    if rows is not None and rows.num_rows == 0:
        raise UnprocessableError("the body has no rows")
    order = endpoint.order(rows=rows, append="append" in kinds)
    if "train" not in kinds:
        return Json(await endpoint.run(lambda session: training.append(session, order)))
    return await endpoint.train(order)


async def _score(endpoint: Endpoint) -> Response:
    """A score on posted rows; without rows, the one of the training, on rows that were held out."""
    endpoint.require(Role.PREDICT)
    version, metric = endpoint.version(), known_metric(endpoint.query.one("_metric"))
    truth = endpoint.query.one(TARGET) or version.target
    read = await endpoint.body()

    def execution(session: RemoteSession) -> float | None:
        rows = read(version)
        if rows is None:
            return describing.score(version, metric)
        return describing.score_on(session, version, rows, truth, metric)

    return Json({"score": await endpoint.run(execution)})


async def put(endpoint: Endpoint) -> Response:
    """Another class, other parameters: noted as an untrained version, or trained at once with `_retrain`."""
    endpoint.require(Role.WRITE)
    query = endpoint.query
    trains = "train" in actions(query) if query.all("_action") else query.flag("_retrain")
    aliased = Query(tuple(("drop_duplicates" if k == "deduplicate" else k, v) for k, v in query.pairs))
    given = stored.names(aliased, [name for name in _PREPARATION if aliased.all(name)])
    wanted = aliased.without([*_TRAINING, *_PREPARATION])
    order = endpoint.order()
    model = endpoint.service.root.snapshot().model(order.project, order.name)
    base = training.latest(model) if model is not None else None
    preparation = (
        stored.Preparation.of(base.query if base is not None else None).changed(**given) if given else None
    )
    read = await endpoint.body()

    def prepare(session: RemoteSession) -> training.Order:
        engine = base.engine if base is not None else training.DEFAULT_ENGINE
        now: Mapping[str, Any] = base.options if base is not None else {}
        using = estimator(wanted, lambda some: session.connection.options(engine, some), now)
        rows = read(None)
        if rows is not None and not trains:
            raise UnprocessableError("the body has rows to train on", hint='say so: "_retrain=1"')
        retargets = order.target is not None and (base is None or order.retargets(base))
        if not (using or given or retargets or trains):
            raise UnprocessableError("nothing is to be changed", hint="PUT ?class=…&parameter=…")
        return training.Order(
            order.project,
            order.name,
            rows,
            target=order.target,
            using=using,
            preparation=preparation,
            train=trains,
        )

    complete = await endpoint.run(prepare)
    if trains:
        return await endpoint.train(complete)
    query.without(["_metric", "wait"])
    version = await endpoint.run(lambda session: training.carry_out(session, complete))
    return Json(describing.noted(version))


async def delete(endpoint: Endpoint) -> Response:
    """The model, its stored rows, or both."""
    endpoint.require(Role.WRITE)
    query = endpoint.query
    # Gramex' first release said `?_model`, the next ones `?delete=model&_opts=include`.
    named = [value for value in query.all("_opts") if value in _PREPARATION]
    older = [word for word in _PARTS if not (word == "opts" and named) and query.flag(f"_{word}")]
    words = [*query.all("delete"), *older]
    query.without(["delete", "_model", "_cache", "_opts", "include", "exclude"]).none_left(["delete"])
    for word in words:
        if word not in _PARTS:
            raise RequestError(f"delete cannot be {word!r}", hint=suggest(word, _PARTS))
    project, name = endpoint.place()
    if "opts" in words:
        which = [
            *(v for v in query.all("_opts") if v in _PREPARATION),
            *(k for k in _PREPARATION if query.all(k)),
        ]
        return Json(await endpoint.run(lambda session: _reset(session, endpoint.model(), which)))

    def execution(session: RemoteSession) -> list[str]:
        model = session.connection.snapshot().model(project, name)
        kept = stored.columns(session, project, name) is not None
        if model is None and not (kept and words != ["model"]):
            endpoint.model()
        dropped = []
        if model is not None and words != ["cache"]:
            session.execute(f"DROP MODEL {grammar.quote_name((project, name))}")
            dropped.append("model")
        if kept and words != ["model"]:
            stored.drop(session, project, name)
            dropped.append("cache")
        return dropped

    return Json({"deleted": await endpoint.run(execution)})


def _reset(session: RemoteSession, model: Model, which: list[str]) -> Any:
    base = training.latest(model)
    defaults = stored.Preparation()
    cleared = {name: getattr(defaults, name) for name in which or _PREPARATION}
    preparation = stored.Preparation.of(base.query).changed(**cleared)
    order = training.Order(model.project, model.name, preparation=preparation, train=False)
    return describing.noted(training.carry_out(session, order))


# Routes -------------------------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Endpoint], Awaitable[Response]]] = {
    "GET": get,
    "POST": post,
    "PUT": put,
    "DELETE": delete,
}


async def handle(request: Request, service: Service, caller: Principal, name: str) -> Response:
    """A request to the endpoint of a model."""
    query = Query(tuple(request.query_params.multi_items()))
    return await VERBS[request.method](Endpoint(service, caller, request, name, query))


_FORMS: dict[str, dict[str, Any]] = {media: {} for media in (JSON, CSV, ARROW, NDJSON, "application/octet-stream")}
router = APIRouter(
    tags=["models"],
    responses={
        200: {"description": "the answer, in the form asked for", "content": _FORMS},
        202: {"description": "a job, at /jobs/{id}"},
    },
)
_LOOKS: dict[str, Any] = dict.fromkeys(_VIEWS, FLAGS)
_TRAINED: dict[str, Any] = {"_retrain": FLAGS, TARGET: "string", "wait": "number", "_metric": "string"}


def _documented(body: bool = False, **parameters: Any) -> dict[str, Any]:
    """For the OpenAPI document: what the query string may say, and which bodies are read."""
    schemas = {
        name: {"type": "string", "enum": list(values)} if isinstance(values, tuple) else {"type": values}
        for name, values in parameters.items()
    }
    made: dict[str, Any] = {
        "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]
    }
    if body:
        records = {"type": "array", "items": {"type": "object"}}
        binary = {"type": "string", "format": "binary"}
        content = {"application/json": records, "text/csv": {"type": "string"}, NDJSON: {"type": "string"}}
        content["multipart/form-data"] = {"type": "object", "properties": {"file": binary}}
        made["requestBody"] = {"content": {media: {"schema": schema} for media, schema in content.items()}}
    return made


@router.get("/models")
async def list_models(request: Request, service: Serving, caller: Caller) -> Response:
    """Every model there is."""
    found = service.root.snapshot().models
    return Json([{**describing.brief(model), "url": f"/models/{shown(model)}"} for model in found])


@router.get("/models/{name}", openapi_extra=_documented(_format=forms.FORMS, **_LOOKS))
async def get_model(name: str, request: Request, service: Serving, caller: Caller) -> Response:
    """Predict: `?column=value&…`, repeated for several rows. Without columns: what the model is.

    `_model` gives its parameters, `_params` all about them, `_cache` its training rows, `_download` its file.
    """
    return await handle(request, service, caller, name)


@router.post(
    "/models/{name}", openapi_extra=_documented(True, _action=ACTIONS, _format=forms.FORMS, **_TRAINED)
)
async def post_model(name: str, request: Request, service: Serving, caller: Caller) -> Response:
    """Predict for the rows in the body; `_action=score` scores them, `_retrain=1&target_col=…` trains on them."""
    return await handle(request, service, caller, name)


@router.put("/models/{name}", openapi_extra=_documented(True, **{"class": "string"}, **_TRAINED))
async def put_model(name: str, request: Request, service: Serving, caller: Caller) -> Response:
    """Change class and parameters, `?class=…&parameter=…`: for the next training, or at once with `_retrain=1`."""
    return await handle(request, service, caller, name)


@router.delete("/models/{name}", openapi_extra=_documented(delete=_PARTS))
async def delete_model(name: str, request: Request, service: Serving, caller: Caller) -> Response:
    """Delete the model and its stored rows; `delete=model`, `delete=cache` or `delete=opts` a part of it."""
    return await handle(request, service, caller, name)
