"""Owns what a tracking server's registry says of a model: which version a name stands for, its signature, and the
scikit-learn model that the version holds. MLflow itself is not needed for any of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from mindsql.errors import EngineError, StatementError
from mindsql_engines.remote import fanout
from mindsql_engines.remote.client import Client, Reply

SIGNATURE_TYPES = {
    "boolean": "boolean",
    "integer": "integer",
    "long": "integer",
    "float": "float",
    "double": "float",
    "string": "text",
    "datetime": "datetime",
    "array": "array",
}
"""The type of dtype_dict that a type of a signature stands for."""
_API = "/api/2.0/mlflow/registered-models"
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Registered:
    """One version of a model in a registry.

    Attributes:
        name, version: Which.
        inputs: Column → dtype, by the signature; empty without one.
        outputs: Those that the signature names.
        flavors: Flavor → its plain properties.
    """

    name: str
    version: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    flavors: Mapping[str, Mapping[str, str]]

    @property
    def uri(self) -> str:
        """As MLflow writes it."""
        return f"models:/{self.name}/{self.version}"


class Registry:
    """Asks a tracking server.

    Args:
        client: How.
        uri: Its URL.
    """

    def __init__(self, client: Client, uri: str) -> None:
        self._client = client
        self._uri = uri.rstrip("/")

    def find(self, model: str) -> Registered:
        """The version that `rent/1`, `rent@alias`, `rent/Stage`, or the latest that `rent` stands for. Raises
        EngineError."""
        name, _, alias = model.removeprefix("models:/").partition("@")
        name, _, version = name.partition("/")
        if alias:
            found = self._get(f"{_API}/alias?name={quote(name)}&alias={quote(alias)}").json()
            version = str(found["model_version"]["version"])
        elif not version.isdigit():
            version = self._latest(name, version)
        text = self._artifact(name, version, "MLmodel").content
        return Registered(name, version, *signature_of(text), flavors_of(text))

    def estimator(self, found: Registered) -> bytes:
        """The file of the scikit-learn model in a version.

        Raises:
            StatementError: The version holds a model of another kind.
            EngineError: The file cannot be had.
        """
        own = found.flavors.get("sklearn", {})
        file = own.get("pickled_model")
        way = found.flavors.get("python_function", {}).get("predict_fn", "predict")
        if not file or way != "predict":
            kinds = sorted(set(found.flavors) - {"python_function"}) or ["python_function"]
            what = f"answers by {way}" if file else f"is a model of {', '.join(kinds)}"
            raise StatementError(
                f"{found.uri} {what}: only MLflow itself can run it",
                hint=f"mlflow models serve -m {found.uri} -p 5000, and url.predict = 'http://…:5000/invocations'",
            )
        return self._artifact(found.name, found.version, file).content

    def _latest(self, name: str, stage: str) -> str:
        wanted = {"name": name, "stages": [stage] if stage and stage.casefold() != "latest" else []}
        url = f"{self._uri}{_API}/get-latest-versions"
        found = fanout.ask_one(self._client, lambda: self._client.post(url, wanted)).json()
        versions = [int(item["version"]) for item in found.get("model_versions", ())]
        if not versions:
            raise EngineError(
                f'the registry has no version of "{name}"' + (f' in the stage "{stage}"' if stage else ""),
                hint="model = 'name/1' or 'name@alias'",
            )
        return str(max(versions))

    def _artifact(self, name: str, version: str, path: str) -> Reply:
        return self._get(
            f"/model-versions/get-artifact?path={quote(path)}&name={quote(name)}&version={quote(version)}"
        )

    def _get(self, path: str) -> Reply:
        client = self._client
        return fanout.ask_one(client, lambda: client.request("GET", self._uri + path, most=_MOST_BYTES))


def signature_of(text: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Inputs and named outputs of an `MLmodel` file. Raises EngineError.

    The file is YAML, and its signature holds JSON in quoted scalars: these are all that is read of it.
    """
    block = re.search(r"^signature:\n((?:[ ]+.*\n?|\n)+)", text.decode("utf-8", "replace"), re.MULTILINE)
    found: dict[str, str] = {}
    for key, single, double in re.findall(
        r"^  (inputs|outputs):\s+(?:'((?:[^']|'')*)'|(\"(?:[^\"\\]|\\.)*\"))",
        block[1] if block else "",
        re.MULTILINE,
    ):
        if double:
            found[key] = json.loads(re.sub(r"\\?\n\s*\\?", "", double))
        else:
            found[key] = re.sub(r"\n\s*", " ", single).replace("''", "'")
    try:
        return _columns(found.get("inputs")), _columns(found.get("outputs"))
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise EngineError(f"the signature in the registry's MLmodel cannot be read: {error}") from error


def _columns(text: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in json.loads(text or "[]"):
        if item.get("type") == "tensor":
            shape = item["tensor-spec"]["shape"]
            kind = "float" if re.match("float|int", item["tensor-spec"]["dtype"]) else "text"
            if len(shape) == 2 and shape[1] > 0:
                found.update({str(number): kind for number in range(shape[1])})
        elif item.get("name") is not None:
            found[str(item["name"])] = SIGNATURE_TYPES.get(item["type"], "categorical")
    return found


def flavors_of(text: bytes) -> dict[str, dict[str, str]]:
    """Flavors of an `MLmodel` file, each with its plain properties."""
    block = re.search(r"^flavors:\n((?: .*\n?)+)", text.decode("utf-8", "replace"), re.MULTILINE)
    found: dict[str, dict[str, str]] = {}
    for name, body in re.findall(r"^  (\w+):\n((?:    .*\n?)*)", block[1] if block else "", re.MULTILINE):
        found[name] = dict(re.findall(r"^    (\w+): (\S+)$", body, re.MULTILINE))
    return found
