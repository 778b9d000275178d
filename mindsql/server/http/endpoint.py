"""Owns one request to one model's endpoint: who asks, which model, its body, and the two things all verbs do.

These are asking the model (`predictions`) and having it trained (`train`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from mindsql import metrics
from mindsql.errors import AccessError, CatalogError, StatementError, suggest
from mindsql.metrics import Metric
from mindsql.server.http import bodies, columns, describing, forms, inputs, stored, training
from mindsql.server.http.answers import Json, attended, noted
from mindsql.server.http.faults import MediaTypeError, NotFoundError, RequestError, UnprocessableError
from mindsql.server.http.parameters import TARGET, Query, choice, number
from mindsql.server.http.predicting import predict
from mindsql.server.principal import Principal, Role
from mindsql.server.service import RemoteSession, Service
from mindsql.snapshot import DEFAULT_PROJECT, Model, Snapshot, Version

T = TypeVar("T")

WAIT_SECONDS, LONGEST_WAIT = 60.0, 600.0
"""How long a request that trains waits by default and at most, before it is answered with a job."""
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

    async def run(self, call: Callable[[RemoteSession], T]) -> T:
        """Something in a worker, with a session; its statements are ours, so what is wrong in them is the request's."""
        session = self.service.open(self.caller, "http")

        def execution() -> T:
            try:
                return call(session)
            except StatementError as error:
                raise training.unprocessable(error) from error
            finally:
                session.close()

        return await attended(self.service, session, self.request.receive, execution)

    async def body(self) -> Callable[[Version | None], Any]:
        """The body; the function reads it, in a worker, into a table or None."""
        encoding = self.request.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise MediaTypeError(f"bodies are not read from {encoding!r}", hint="send it as it is")
        content = await self.request.body()
        kind = self.request.headers.get("content-type", "")
        limits = columns.BodyLimits.of(self.service.options.body_bytes)

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

        def execution(session: RemoteSession) -> Response:
            rows = read(version)
            if rows is None:
                raise RequestError("there are no rows in the body", hint='send [{"column": value, …}, …]')
            target = version.outputs[0].name
            if rows.num_rows == 0:
                return forms.predictions(rows, rows.select([]), target, predict(session, version, rows), form)
            fitted = inputs.fit(rows, version, stored.left_out(session, version))
            answers = predict(session, version, fitted)
            session.sent(len(answers))
            response = forms.predictions(rows, fitted, target, answers, form)
            missing = inputs.absent(fitted, version)
            return noted(response, [f'"{name}" is not given, and counts as missing' for name in missing])

        return await self.run(execution)

    # Training -------------------------------------------------------------------------------------------------

    async def train(self, order: training.Order) -> Response:
        """The score of what was trained, or its job when that takes long."""
        metric = known_metric(self.query.one("_metric"))
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


def known_metric(name: str | None) -> Metric | None:
    """A metric. Raises UnprocessableError with the nearest name."""
    if name is None:
        return None
    found = metrics.find(name)
    if found is None:
        raise UnprocessableError(f"there is no metric {name!r}", hint=suggest(name, metrics.names()))
    return found
