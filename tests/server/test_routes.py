"""URLs of models: `--route`, and YAML files in Gramex' form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mindsql.errors import InterfaceError
from mindsql.server.http import routes
from tests.server.conftest import Serve
from tests.server.test_models import trips

SEED = """
url:
  mymodel:
    pattern: /$YAMLURL/model
    handler: MLHandler
    kwargs:
      path: $YAMLPATH/model.pkl
"""
DATA = """
url:
  trip:
    pattern: /trip
    handler: MLHandler
    kwargs:
      xsrf_cookies: false
      data: {url: $YAMLPATH/trips.csv}
      model: {class: DecisionTreeClassifier, params: {max_depth: 3}, target_col: lived, exclude: [fare]}
  ready:
    pattern: /ready
    handler: MLHandler
    kwargs: {path: $YAMLPATH/ready.skops, target_col: y}
"""


def test_the_urls_of_the_seed(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "gramex.yaml").write_text(SEED)
    server = serve("--no-mysql", "--route", "gramex.yaml", "--route", "/mlhandler=mymodel")
    whole = trips()
    assert server.request("GET", "/model?sex=male").status_code == 404
    posted = server.request(
        "POST", "/mlhandler?_retrain=1&target_col=lived", data=whole.to_json(orient="records")
    )
    assert posted.json() == {"score": 1.0}
    one = json.loads(whole.drop(columns="lived").iloc[1:2].to_json(orient="records"))
    assert server.request("GET", "/model", params=one[0]).json() == [0]
    assert server.request("POST", "/models/mymodel", json=one).json() == [0]
    assert server.request("DELETE", "/model").status_code == 200
    assert server.request("GET", "/mlhandler", params=one[0]).status_code == 404


def test_models_are_made_from_files(serve: Serve, tmp_path: Path) -> None:
    import pandas as pd
    import skops.io
    from sklearn.linear_model import LinearRegression

    folder = tmp_path / "files"
    folder.mkdir()
    skops.io.dump(LinearRegression().fit(pd.DataFrame({"a": [1.0, 2, 3]}), [2, 4, 6]), folder / "ready.skops")
    trips().to_csv(folder / "trips.csv", index=False)
    (folder / "gramex.yaml").write_text(DATA)
    server = serve("--no-mysql", "--route", "files/gramex.yaml", "--allow-folder", str(folder))
    assert server.request("GET", "/ready?a=7").json() == [pytest.approx(14)]
    while server.request("GET", "/jobs").json()[0]["status"] not in ("complete", "error"):
        pass
    told = server.request("GET", "/trip?_params").json()
    assert told["params"]["class"] == "DecisionTreeClassifier" and told["params"]["params"]["max_depth"] == 3
    assert told["opts"]["exclude"] == ["fare"]
    assert server.request("GET", "/trip?sex=female&age=30&class=1&port=C&fare=1").json() == [1]


WRONG = """
{handler: MLHandler, kwargs: {}}                                            | there is no pattern
{pattern: /models/x, handler: MLHandler}                                    | is the server's own
{pattern: "/a/{b}", handler: MLHandler}                                     | is no path of letters
{pattern: /m, handler: MLHandler, kwargs: {pth: x.pkl}}                     | unknown key 'pth'
{pattern: /m, handler: MLHandler, kwargs: {path: "http://h/m.skops"}}       | is no file
{pattern: /m, handler: MLHandler, kwargs: {path: $HOME/m.skops}}            | is no file
{pattern: /m, handler: MLHandler, kwargs: {model: {classs: Ridge}}}         | unknown key 'classs'
{pattern: /m, handler: MLHandler, kwargs: {data: {url: a.csv, table: t}}}   | and not table
3                                                                           | there is no pattern
"""


@pytest.mark.parametrize("line", WRONG.strip().split("\n"))
def test_a_wrong_file_is_refused(line: str, tmp_path: Path) -> None:
    entry, _, message = line.partition("|")
    file = tmp_path / "gramex.yaml"
    file.write_text(f"url:\n  one: {entry.strip()}\n")
    with pytest.raises(InterfaceError) as raised:
        routes.read((str(file),))
    assert message.strip() in str(raised.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("/a=m", "/a=n"), "is given twice"),
        (("/a=",), "names no model"),
        (("/=m",), "is no path"),
        (("nowhere.yaml",), "nowhere.yaml"),
    ],
)
def test_a_wrong_route_is_refused(given: tuple[str, ...], message: str) -> None:
    with pytest.raises(InterfaceError, match=message):
        routes.read(given)


def test_a_pickle_is_not_opened(serve: Serve, tmp_path: Path) -> None:
    """The seed's file is a pickle; to read it would be to run it."""
    import os
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "gramex.yaml").write_text(SEED)
    with pytest.raises(AssertionError, match="may be a pickle"):
        serve("--no-mysql", "--route", "gramex.yaml")
    assert not (tmp_path / "ran").exists()
