"""Owns `/models/{name}`: every model as an endpoint, with the words of Gramex' MLHandler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

import mindsql_grammar as grammar
from mindsql import metrics
from mindsql.catalog import DEFAULT_PROJECT, Model, Snapshot, Version
from mindsql.errors import AccessError, CatalogError, StatementError, suggest
from mindsql.server.access import Principal, Role
from mindsql.server.http import bodies, columns, describing, forms, inputs, stored, training
from mindsql.server.http.answers import Json, attended
from mindsql.server.http.faults import MediaTypeError, NotFoundError, RequestError, UnprocessableError
from mindsql.server.http.parameters import TARGET, Query, actions, choice, estimator, number
from mindsql.server.http.predicting import predict
from mindsql.server.http.sql import Caller, Serving, answer
from mindsql.server.service import Service, Session

T = TypeVar("T")

WAIT_SECONDS, LONGEST_WAIT = 60.0, 600.0
"""How long a request that trains waits by default and at most, before it is answered with a job."""
_VIEWS = ("_model", "_params", "_opts", "_cache", "_download")
_PREPARATION = ("include", "exclude", "nums", "cats", "dropna", "drop_duplicates")
_TRAINING = ("_action", "_retrain", TARGET, "wait", "_metric")
_PARTS = ("model", "cache", "opts")
_NAME = 255


@dataclass(frozen=True)
class Endpoint:
    """One request to one model's endpoint."""

    service: Service
    caller: Principal
    request: Request
    name: str
    query: Query

    # Who and what ---------------------------------------------------------------------------------------------

    def require(self, role: Role) -> None:
        """Raise AccessError if the caller has a lower role."""
        if self.caller.role < role:
            raise AccessError(f"this needs the role {role.name.lower()}", hint="ask with another token")

    def place(self) -> tuple[str, str]:
        """`[project.]name` as project and name. Raises NotFoundError, UnprocessableError."""
        return place(self.service.root.snapshot(), self.name)

    def model(self) -> Model:
        """The model. Raises NotFoundError with the nearest name."""
        project, name = self.place()
        snapshot = self.service.root.snapshot()
        model = snapshot.model(project, name)
        if model is None:
            known = [shown(other) for other in snapshot.models]
            raise NotFoundError(f'there is no model "{self.name}"', hint=suggest(self.name, known))
        return model

    def version(self) -> Version:
        """The version that answers. Raises NotFoundError when none is trained, CatalogError while the first trains."""
        model = self.model()
        if model.active is None and all(v.status in ("untrained", "error") for v in model.versions):
            try:
                model.version()
            except CatalogError as error:
                raise NotFoundError(error.message, hint='train it: POST rows with "_retrain=1"') from error
        return model.version()

    # Work -----------------------------------------------------------------------------------------------------

    async def run(self, call: Callable[[Session], T]) -> T:
        """Something in a worker, with a session; its statements are ours, so what is wrong in them is the request's."""
        session = self.service.open(self.caller, "http")

        def work() -> T:
            try:
                return call(session)
            except StatementError as error:
                raise training.unprocessable(error) from error
            finally:
                session.close()

        return await attended(self.service, session, self.request.receive, work)

    async def body(self) -> Callable[[Version | None], Any]:
        """The body; the function reads it, in a worker, into a table or None."""
        encoding = self.request.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise MediaTypeError(f"bodies are not read from {encoding!r}", hint="send it as it is")
        content = await self.request.body()
        kind = self.request.headers.get("content-type", "")
        limits = columns.Limits.of(self.service.options.body_bytes)

        def read(version: Version | None) -> Any:
            known = version.inputs if version is not None else ()
            return bodies.read(content, kind, limits, [c.name for c in known if c.family == "text"])

        return read

    def form(self) -> str:
        """The form that predictions are wanted in."""
        return choice(self.query, "_format", forms.FORMS, forms.wished(self.request.headers.get("accept")))

    async def predictions(self, read: Callable[[Version | None], Any]) -> Response:
        """The model's answers to rows."""
        self.require(Role.PREDICT)
        version, form = self.version(), self.form()

        def work(session: Session) -> Response:
            rows = read(version)
            if rows is None:
                raise RequestError("there are no rows in the body", hint='send [{"column": value, …}, …]')
            target = version.outputs[0].name
            if rows.num_rows == 0:
                return forms.predictions(rows, rows.select([]), target, predict(session, version, rows), form)
            fitted = inputs.fit(rows, version, stored.left_out(session, version))
            return forms.predictions(rows, fitted, target, predict(session, version, fitted), form)

        return await self.run(work)

    # Training -------------------------------------------------------------------------------------------------

    async def train(self, order: training.Order) -> Response:
        """The score of what was trained, or its job when that takes long."""
        metric = _metric(self.query.one("_metric"))
        seconds = number(self.query, "wait", WAIT_SECONDS, LONGEST_WAIT)
        job, outcome = training.start(self.service, self.caller, order)
        version = await training.wait(outcome, seconds)
        if version is None:
            url = f"/jobs/{job.id}"
            return Json({**describing.job(job, self.service), "url": url}, 202, {"Location": url})
        return Json({"score": describing.score(version, metric)})

    def order(self, **given: Any) -> training.Order:
        """What is to be trained: the model, its target, and what else is given."""
        project, name = self.place()
        snapshot = self.service.root.snapshot()
        model = snapshot.model(project, name)
        target = self.query.one(TARGET)
        if model is not None:
            name = model.name
            if target is not None and target.casefold() == training.latest(model).target.casefold():
                target = None
        if model is None and snapshot.view(project, name) is not None:
            raise CatalogError(f'"{name}" is a view', hint="choose another name")
        return training.Order(project, name, target=target, **given)


def place(snapshot: Snapshot, text: str) -> tuple[str, str]:
    """`[project.]name` as project and name. Raises NotFoundError, UnprocessableError."""
    project, dot, name = text.partition(".")
    if not dot:
        project, name = DEFAULT_PROJECT, text
    found = snapshot.project(project)
    if found is None:
        raise NotFoundError(f'there is no project "{project}"', hint=suggest(project, snapshot.projects))
    if not name.strip() or len(name) > _NAME or not name.isprintable():
        raise UnprocessableError("this is no name of a model")
    return found, name


def shown(model: Model) -> str:
    """A model's name in a URL."""
    return model.name if model.project == DEFAULT_PROJECT else f"{model.project}.{model.name}"


def _metric(name: str | None) -> str | None:
    if name is None:
        return None
    found = metrics.find(name)
    if found is None:
        raise UnprocessableError(f"there is no metric {name!r}", hint=suggest(name, metrics.names()))
    return found


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
        model = endpoint.model()
        return Json(await endpoint.run(lambda session: describing.model(model)))
    return await endpoint.predictions(lambda version: _from_query(rows))


def _from_query(rows: Query) -> Any:
    try:
        return columns.from_pairs(rows.pairs, columns.Limits())
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
        return Json({"score": describing.score(version, _metric(query.one("_metric")))})
    if "_download" in views:
        endpoint.require(Role.WRITE)
        version = endpoint.version()
        name, content = await endpoint.run(lambda session: describing.artifact(session, version))
        disposition = f'attachment; filename="{name}"'
        return Response(content, headers={"Content-Disposition": disposition}, media_type="application/octet-stream")
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
    version, metric = endpoint.version(), _metric(endpoint.query.one("_metric"))
    truth = endpoint.query.one(TARGET) or version.target
    read = await endpoint.body()

    def work(session: Session) -> float | None:
        rows = read(version)
        if rows is None:
            return describing.score(version, metric)
        return describing.score_on(session, version, rows, truth, metric)

    return Json({"score": await endpoint.run(work)})


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
    preparation = stored.Preparation.of(base.query if base is not None else None).changed(**given) if given else None
    read = await endpoint.body()

    def prepare(session: Session) -> training.Order:
        engine = base.engine if base is not None else training.DEFAULT_ENGINE
        now: Mapping[str, Any] = base.options if base is not None else {}
        using = estimator(wanted, lambda some: session.connection.options(engine, some), now)
        rows = read(None)
        if rows is not None and not trains:
            raise UnprocessableError("the body has rows to train on", hint='say so: "_retrain=1"')
        if not (using or given or order.target or trains):
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

    def work(session: Session) -> list[str]:
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

    return Json({"deleted": await endpoint.run(work)})


def _reset(session: Session, model: Model, which: list[str]) -> Any:
    base = training.latest(model)
    defaults = stored.Preparation()
    cleared = {name: getattr(defaults, name) for name in which or _PREPARATION}
    preparation = stored.Preparation.of(base.query).changed(**cleared)
    order = training.Order(model.project, model.name, preparation=preparation, train=False)
    return describing.noted(training.carry_out(session, order))


# Routes -------------------------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Endpoint], Awaitable[Response]]] = {"GET": get, "POST": post, "PUT": put, "DELETE": delete}


async def handle(request: Request, service: Service, caller: Principal, name: str) -> Response:
    """A request to the endpoint of a model."""
    query = Query(tuple(request.query_params.multi_items()))
    return await VERBS[request.method](Endpoint(service, caller, request, name, query))


router = APIRouter(tags=["models"])


@router.get("/models")
async def list_models(request: Request, service: Serving, caller: Caller) -> Response:
    """Every model there is."""
    found = service.root.snapshot().models
    return Json([{**describing.brief(model), "url": f"/models/{shown(model)}"} for model in found])


@router.get("/models/{name}")
async def get_model(name: str, request: Request, service: Serving, caller: Caller) -> Response:
    """Predict: `?column=value&…`, repeated for several rows. Without columns: what the model is.

    `_model` gives its parameters, `_params` all about them, `_cache` its training rows, `_download` its file.
    """
    return await handle(request, service, caller, name)


@router.post("/models/{name}")
async def post_model(name: str, request: Request, service: Serving, caller: Caller) -> Response:
    """Predict for the rows in the body; `_action=score` scores them, `_retrain=1&target_col=…` trains on them."""
    return await handle(request, service, caller, name)


@router.put("/models/{name}")
async def put_model(name: str, request: Request, service: Serving, caller: Caller) -> Response:
    """Change class and parameters, `?class=…&parameter=…`: for the next training, or at once with `_retrain=1`."""
    return await handle(request, service, caller, name)


@router.delete("/models/{name}")
async def delete_model(name: str, request: Request, service: Serving, caller: Caller) -> Response:
    """Delete the model and its stored rows; `delete=model`, `delete=cache` or `delete=opts` a part of it."""
    return await handle(request, service, caller, name)
