"""Owns the USING of CREATE MODEL, RETRAIN and FINETUNE: what every model takes, and what its engine takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import mindsql_grammar as grammar
from mindsql.engine import Engine, Option
from mindsql.errors import AccessError, StatementError, UnknownNameError
from mindsql.execution import apart
from mindsql.executor.engines import engine_boundary
from mindsql.options import STRICT, admit_files, check, secrecy
from mindsql.secrets import decrypted, encrypted
from mindsql.snapshot import Version

if TYPE_CHECKING:
    from mindsql.session import Session

DEFAULT_ENGINE = "sklearn"
_EVERY_MODEL = (
    Option("engine", "string", description="the engine or handler that trains it"),
    Option("tag", "string", description="a word of your own, shown in models"),
    Option("join_learn_process", "boolean", description="wait for the training; a server can do without"),
    Option("cache", "boolean", description="keep its answers in the database, and ask equal rows but once"),
    STRICT,
    Option("active", "boolean", description="RETRAIN: whether the new version answers at once"),
    Option(
        "activate",
        "string",
        choices=("always", "if_better", "never"),
        description="RETRAIN: whether the new version answers at once, or only if its score is better",
    ),
    Option("max_rows", "integer", minimum=1, description="train on so many of the rows at most, taken at random"),
    Option("train", "boolean", description="false: note an untrained version, for the next RETRAIN"),
)


def read_options(
    session: Session,
    given: tuple[grammar.Option, ...],
    parameters: Mapping[str, Any],
    base: Version | None = None,
) -> tuple[str, str, type[Engine], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """USING of CREATE MODEL, RETRAIN and FINETUNE, merged over those of the base version.

    Returns:
        Engine, handler, its class, the options in the clear, the options as stored, and what belongs to every model.
    """
    common: list[tuple[str, Any, tuple[int, int] | None]] = []
    own: list[tuple[str, Any, tuple[int, int] | None]] = []
    names = {option.name for option in _EVERY_MODEL}
    for option in given:
        value = option.value
        if isinstance(value, grammar.Parameter):
            key = value.name if not value.name.isdigit() else f"p{value.name}"
            if key not in parameters:
                raise StatementError(f"the parameter ${value.name} has no value")
            value = parameters[key]
        entry = (option.key, value, (option.span.start, option.span.end))
        (common if option.key.casefold() in names else own).append(entry)
    every = check(common, _EVERY_MODEL, "a model")
    every["background"] = _in_background(session, every)
    engine = every.get("engine") or (base.engine if base is not None else _engine_of(session, own))
    entry_ = session.snapshot().engine(engine)
    handler = entry_.handler if entry_ is not None else engine
    if entry_ is None and handler not in session.registry:
        known = [*session.registry.names(), *(e.name for e in session.snapshot().engines)]
        raise UnknownNameError.of("engine", engine, known)
    cls = session.engine_class(engine, handler)
    before: dict[str, Any] = (
        dict(decrypted(base.options)) if base is not None and base.engine == engine else {}
    )
    changes = {key: value for key, value, _ in own}
    merged = {**before, **changes}
    with engine_boundary(engine, "options"):
        known_options = apart(lambda: cls.options_for(merged))  # it may import the engine's library
        if before and known_options != cls.options_for(before):
            # What another option brought along, such as the parameters of another estimator, goes with it.
            lasting = {option.name for option in cls.options}
            merged = {**{key: value for key, value in before.items() if key in lasting}, **changes}
            known_options = cls.options_for(merged)
    # The base's own options were checked when it was made; those given now carry their place in the text.
    spans = {key.casefold(): span for key, _, span in own}
    checked = check(
        [(key, value, spans.get(key.casefold())) for key, value in merged.items()],
        known_options,
        f'the engine "{engine}"',
    )
    admit_files(checked, known_options, session.database.sandbox)
    if every.get("cache") and not (cls.capabilities.deterministic and cls.capabilities.row_wise):
        raise StatementError(
            f'the engine "{engine}" does not answer equal rows alike, so cache = true would change its answers',
            hint="leave cache out",
        )
    if not session.settings.trusted:
        stored_with = {**(dict(decrypted(entry_.options)) if entry_ is not None else {}), **before}
        canonical = {name.casefold(): item.name for item in known_options for name in (item.name, *item.aliases)}
        told = {canonical.get(key.casefold(), key) for key in changes}
        is_secret = secrecy((*known_options, *cls.engine_options))
        secrets = [key for key in stored_with if is_secret(key) and key not in told]
        _check_addresses(cls, checked, stored_with, secrets)
    if checked.get("trusted") and not session.settings.trusted:
        raise AccessError("trusted = true is for the owner of a local connection")
    stored = {key: value for key, value in checked.items() if key in _given_names(known_options, merged)}
    base_sealed = dict(base.options) if base is not None and base.engine == engine else {}
    fresh = {key: value for key, value in stored.items() if key not in base_sealed or key.casefold() in spans}
    sealed = {
        **{k: v for k, v in base_sealed.items() if k in stored},
        **encrypted(fresh, secrecy(known_options)),
    }
    return engine, handler, cls, decrypted(checked), sealed, every


def _check_addresses(
    cls: type[Engine], given: Mapping[str, Any], known: Mapping[str, Any], secrets: Sequence[str]
) -> None:
    """A secret goes to the origin that it was stored with, and to no other that somebody else names. Raises
    AccessError."""
    origins = {_origin(known[key]) for key in cls.urls if known.get(key)}
    for key in cls.urls:
        if secrets and given.get(key) and _origin(given[key]) not in origins:
            raise AccessError(
                f"{secrets[0]} was stored for another address than {key} names",
                hint=f"give {secrets[0]} too, or have an ML_ENGINE made for that address",
            )


def _origin(url: Any) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(str(url))
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", str(url), None


def _in_background(session: Session, every: Mapping[str, Any]) -> bool:
    """Whether nobody waits for the training. Raises StatementError when somebody must."""
    allowed, joined = session.settings.background, every.get("join_learn_process")
    if joined is False and not allowed:
        raise StatementError(
            "training in the background needs the server",
            hint="leave join_learn_process out, or set it to true",
        )
    background = joined is False or (joined is None and allowed == "always")
    if every.get("train") is False:
        return False  # it is but noted
    if background and session.in_transaction:
        raise StatementError(
            "a transaction cannot wait for a training in the background",
            hint="COMMIT first, or say USING join_learn_process = true",
        )
    return background


def _engine_of(session: Session, own: list[tuple[str, Any, tuple[int, int] | None]]) -> str:
    """The engine when none is named: the handler that `format` names, else the default."""
    given = {key.casefold(): (value, span) for key, value, span in own}
    name, span = given.get("format", (None, None))
    if isinstance(name, str):
        if name not in session.registry:
            raise UnknownNameError.of("format", name, session.registry.names(), span=span)
        return name
    url = next((span for key, (_, span) in given.items() if key.startswith("url.")), None)
    if url is not None:
        raise StatementError(
            "a model behind a URL needs a format", hint="USING format = 'ray_serve', or 'mlflow'", span=url
        )
    return DEFAULT_ENGINE


def _given_names(options: Any, given: Mapping[str, Any]) -> set[str]:
    names = {alias.casefold(): o.name for o in options for alias in (o.name, *o.aliases)}
    return {names.get(key.casefold(), key) for key in given}
