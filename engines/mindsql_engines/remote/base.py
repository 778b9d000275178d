"""Owns `RemoteEngine`: what every handler has whose models are behind HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from mindsql.engine import Args, Capabilities, Engine, Option, Predictor, context
from mindsql.errors import UnknownNameError
from mindsql_engines.remote import hosts, settings, tables

if TYPE_CHECKING:
    import pandas as pd
    import requests


class RemoteEngine(Engine):
    """Asks a server. Subclasses write `create`, which calls `tables.store` or its like, `predictor` and `summary`.

    Class attributes:
        urls: The options that are URLs, checked before anything is sent.
    """

    urls: ClassVar[tuple[str, ...]] = ()
    predict_options: ClassVar[tuple[Option, ...]] = settings.PREDICT
    capabilities: ClassVar[Capabilities] = Capabilities(
        thread_safe=True, needs_training_data=False, ask_once=True, casts=True, max_concurrency=1
    )
    requires: ClassVar[str] = "pip install requests"

    def create_engine(self, connection_args: dict[str, Any]) -> None:
        """Check the URLs; nothing is sent."""
        self.check_urls(connection_args)

    def check_urls(self, using: Mapping[str, Any]) -> None:
        """Refuse options that are no URL, or one that this connection may not ask: StatementError, AccessError."""
        for key in self.urls:
            if using.get(key):
                hosts.check_url(using[key], context().network, key)

    def using(self, args: Args | None) -> dict[str, Any]:
        """The options of the engine, those of the model over them."""
        given = {key: value for key, value in ((args or {}).get("using") or {}).items() if value is not None}
        return {**self.engine_storage.get_connection_args(), **given}

    @cached_property
    def session(self) -> requests.Session:
        """Pooled connections, shared by the statements that ask this model."""
        from mindsql_engines.remote import connections

        return connections.session()

    def predictor(self, args: Args | None = None) -> Predictor:
        """See `Engine.predictor`. A remote engine always has one, and it is the engine's own."""
        raise NotImplementedError

    def predict(self, df: pd.DataFrame, args: Args | None = None) -> pd.DataFrame:
        """See `Engine.predict`; the same answers as the predictor's."""
        meta = tables.stored(self.model_storage)
        wanted = list((args or {}).get("columns") or [meta["target"]])
        return tables.as_frame(self.predictor(args), meta, df, wanted)

    def describe(self, key: str | None = None) -> pd.DataFrame:
        """See `Engine.describe`: `sent`, the type of dtype_dict that each input is sent as."""
        import pandas as pd

        if key is None:
            return pd.DataFrame({"tables": ["sent"]})
        if key != "sent":
            raise UnknownNameError.of("key", key, ["sent"])
        types = tables.stored(self.model_storage)["dtypes"]
        return pd.DataFrame(list(types.items()), columns=["column", "dtype"])
