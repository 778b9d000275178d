"""Owns further URLs of models: `--route /path=model`, or a YAML file in the form of Gramex' `gramex.yaml`."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

import mindsql_grammar as grammar
from mindsql.errors import InterfaceError, MindSQLError, suggest
from mindsql.server.http import bodies, columns, models, stored, training
from mindsql.server.http.endpoint import place
from mindsql.server.http.parameters import CLASS, ESTIMATOR, TARGET
from mindsql.server.http.sql import Caller, Serving
from mindsql.server.principal import LOCAL
from mindsql.server.service import Service

log = logging.getLogger("mindsql.server")

_PATH = re.compile(r"/[\w.~/-]*")
_TAKEN = re.compile(r"/(?:api|models|jobs|tokens|health|metrics|docs|openapi\.json|cloud)(?:/|$)")
_HANDLER = "MLHandler"
_MEANINGLESS = frozenset({"config_dir", "xsrf_cookies", "template"})
"""What a `gramex.yaml` says and this server has no use for: it keeps models in the database and knows no cookies."""
_PREPARATION = {
    "include": tuple,
    "exclude": tuple,
    "nums": tuple,
    "cats": tuple,
    "dropna": bool,
    "drop_duplicates": bool,
}
_ANSWER = "prediction"
"""What a ready-made model answers when nothing says it."""


@dataclass(frozen=True)
class Route:
    """A URL of a model.

    Attributes:
        path: The URL's path.
        model: `[project.]name`.
        file: A skops file to make the model from, if there is no such model yet.
        data: A file of rows to train it on, if there is no such model yet.
        target: The column to predict.
        using: Options of the training.
        preparation: What is done to the rows first.
    """

    path: str
    model: str
    file: Path | None = None
    data: Path | None = None
    target: str | None = None
    using: Mapping[str, Any] = field(default_factory=dict)
    preparation: Mapping[str, Any] = field(default_factory=dict)


def read(given: tuple[str, ...]) -> list[Route]:
    """The routes that `--route` names. Raises InterfaceError with what is wrong, and where."""
    found: list[Route] = []
    for one in given:
        path, equals, model = one.partition("=")
        if equals and path.startswith("/"):
            found.append(Route(_path(path, one), model))
        else:
            found += _file(Path(one))
    seen: set[str] = set()
    for route in found:
        if not route.model:
            raise InterfaceError(f"the route {route.path} names no model\nhint: --route {route.path}=model")
        if route.path in seen:
            raise InterfaceError(f"the route {route.path} is given twice")
        seen.add(route.path)
    return found


def _path(text: str, where: str) -> str:
    # Gramex writes /$YAMLURL/model, and the URL of a YAML file is here always the root.
    path = re.sub(r"/(?:\.?/)+", "/", text.replace("$YAMLURL", ""))
    if not _PATH.fullmatch(path) or path == "/":
        raise InterfaceError(f"{where}: {text!r} is no path of letters, digits and /\nhint: /model")
    if _TAKEN.match(path):
        raise InterfaceError(f"{where}: the path {path} is the server's own")
    return path


def _file(file: Path) -> list[Route]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InterfaceError(f"--route {file}: {error}\nhint: /path=model, or a YAML file") from error
    urls = content.get("url") if isinstance(content, dict) else None
    if not isinstance(urls, dict):
        raise InterfaceError(f"{file}: there is no url: with a pattern and a handler below a name")
    found = []
    for name, entry in urls.items():
        where = f"{file}: url: {name}"
        if not isinstance(entry, dict) or "pattern" not in entry:
            raise InterfaceError(f"{where}: there is no pattern")
        if entry.get("handler") != _HANDLER:
            log.warning(
                "%s: the handler %s is left out: only %s is served", where, entry.get("handler"), _HANDLER
            )
            continue
        kwargs = entry.get("kwargs") or {}
        if not isinstance(kwargs, dict):
            raise InterfaceError(f"{where}: kwargs has no keys")
        found.append(_entry(where, str(name), str(entry["pattern"]), kwargs, file.parent))
    return found


def _entry(where: str, name: str, pattern: str, kwargs: Mapping[str, Any], folder: Path) -> Route:
    known = ("path", "data", "model", TARGET)
    for key in kwargs:
        if key in _MEANINGLESS:
            log.warning("%s: %s has no meaning here", where, key)
        elif key not in known:
            hint = suggest(str(key), known)
            raise InterfaceError(f"{where}: unknown key {key!r}" + (f"\nhint: {hint}" if hint else ""))
    model = kwargs.get("model") or {}
    if isinstance(model, str):
        name, model = model, {}
    data = kwargs.get("data") or {}
    if not isinstance(model, dict) or not isinstance(data, dict):
        raise InterfaceError(f"{where}: model and data have keys of their own")
    if set(data) - {"url"}:
        raise InterfaceError(
            f"{where}: data takes a url, a file, and not {min(map(str, set(data) - {'url'}))}"
        )
    using = {**(model.get("params") or {}), **({ESTIMATOR: model[CLASS]} if model.get(CLASS) else {})}
    preparation = {
        key: kind(value) if not isinstance(value, str) else (value,)
        for key, kind in _PREPARATION.items()
        if (value := model.get("deduplicate" if key == "drop_duplicates" and key not in model else key))
        is not None
    }
    strange = set(model) - {CLASS, "params", TARGET, "deduplicate", *_PREPARATION}
    if strange:
        hint = suggest(min(strange), [CLASS, "params", TARGET, *_PREPARATION])
        raise InterfaceError(f"{where}: unknown key {min(strange)!r} of model\nhint: {hint}")
    return Route(
        _path(pattern, where),
        name,
        _local(where, kwargs["path"], folder) if kwargs.get("path") else None,
        _local(where, data["url"], folder) if data.get("url") else None,
        model.get(TARGET) or kwargs.get(TARGET),
        using,
        preparation,
    )


def _local(where: str, text: Any, folder: Path) -> Path:
    """A file as Gramex writes it: below the folder of the YAML file."""
    path = str(text).replace("$YAMLPATH", str(folder.resolve()))
    if "$" in path or "://" in path:
        raise InterfaceError(f"{where}: {text} is no file\nhint: $YAMLPATH/{PurePath(path).name}")
    return folder / path


# Serving ------------------------------------------------------------------------------------------------------


def install(app: FastAPI, service: Service) -> dict[str, str]:
    """Serve the routes of the service's options, and make the models that their files describe. Gives path → model.

    Raises:
        InterfaceError: A route is wrong, or its file cannot be used.
    """
    found = read(service.options.routes)
    for route in found:
        _make(service, route)
        _serve(app, route)
    return {route.path: route.model for route in found}


def _serve(app: FastAPI, route: Route) -> None:
    async def endpoint(request: Request, service: Serving, caller: Caller) -> Response:
        return await models.handle(request, service, caller, route.model)

    endpoint.__doc__ = f"The model {route.model}, as at /models/{route.model}."
    for method in models.VERBS:
        name = f"{method.lower()} {route.path}"
        app.add_api_route(route.path, endpoint, methods=[method], tags=["models"], name=name)


def _make(service: Service, route: Route) -> None:
    """Make the model of a route if there is none yet: from its file at once, from its data in the background."""
    project, name = _place(service, route)
    if service.root.snapshot().model(project, name) is not None:
        return
    try:
        if route.file is not None and route.file.exists():
            _register(service, route, project, name)
        elif route.data is not None:
            _train(service, route, project, name)
    except (MindSQLError, OSError) as error:
        raise InterfaceError(f"the route {route.path}: {error}") from error


def _place(service: Service, route: Route) -> tuple[str, str]:
    try:
        return place(service.root.snapshot(), route.model)
    except MindSQLError as error:
        raise InterfaceError(f"the route {route.path}: {error}") from error


def _register(service: Service, route: Route, project: str, name: str) -> None:
    assert route.file is not None
    if route.file.suffix.lower() != ".skops":
        raise InterfaceError(
            f"the route {route.path}: {route.file} may be a pickle, which can run any program when it is read\n"
            "hint: save it with skops, or register it once, where you trust it: "
            f"CREATE MODEL {name} PREDICT … USING path = '…', trusted = true"
        )
    target = grammar.quote(route.target or _ANSWER)
    with closing(service.open(LOCAL, "http")) as session:
        text = f"CREATE MODEL {grammar.quote_name((project, name))} PREDICT {target} USING path = $path"
        session.execute(text, {"path": str(route.file)}).fetchall()


def _train(service: Service, route: Route, project: str, name: str) -> None:
    assert route.data is not None
    rows = bodies.read_file(str(route.data), route.data.read_bytes(), columns.BodyLimits(bytes=1 << 40))
    preparation = stored.Preparation().changed(**route.preparation) if route.preparation else None
    order = training.Order(project, name, rows, False, route.target, route.using, preparation)
    _, outcome = training.start(service, LOCAL, order)

    def note(done: Any) -> None:
        if done.exception() is not None:
            log.error("the model of the route %s was not trained: %s", route.path, done.exception())

    outcome.add_done_callback(note)
