"""Every model as an endpoint: the cases of `models.rest`, and what no such case can say."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import requests

from tests.server.conftest import Serve, Served

HERE = Path(__file__).parent


def trips() -> pd.DataFrame:
    """Passengers of whom women and children of the first class lived; some ages and ports are not known."""
    rows = range(120)
    frame = pd.DataFrame(
        {
            "sex": ["male" if i % 2 else "female" for i in rows],
            "age": [None if i % 11 == 0 else float(20 + i * 7 % 50) for i in rows],
            "class": [1 + i % 3 for i in rows],
            "fare": [7.25 * (3 - i % 3) ** 2 for i in rows],
            "port": [None if i % 13 == 0 else "SCQ"[i // 2 % 3] for i in rows],
        }
    )
    return frame.assign(lived=(frame["sex"] == "female").astype(int))


def bodies() -> dict[str, bytes]:
    """The bodies that `models.rest` names."""
    whole = trips()
    ask = whole.drop(columns="lived")
    sheet, parquet = io.BytesIO(), io.BytesIO()
    ask.to_excel(sheet, index=False)
    ask.set_axis([3 * row for row in range(len(ask))]).to_parquet(parquet)  # the row numbers go into the file
    records = json.loads(ask.to_json(orient="records"))
    return {
        "trips.json": whole.to_json(orient="records").encode(),
        "trips.csv": whole.to_csv(index=False).encode(),
        "ask.json": json.dumps(records, indent=1).encode(),
        "ask.data.json": json.dumps({"data": records}).encode(),
        "ask.lists.json": json.dumps({name: [r[name] for r in records] for name in ask}).encode(),
        "ask.ndjson": "\n".join(map(json.dumps, records)).encode(),
        "ask.csv": ask.to_csv(index=False).encode(),
        "ask.xlsx": sheet.getvalue(),
        "ask.parquet": parquet.getvalue(),
        "deep": b"[" * 100_000,
    }


@dataclass(frozen=True)
class Case:
    """A request and what must come back."""

    line: int
    method: str
    url: str
    kind: str
    body: str
    status: int
    answer: str


def cases() -> Iterator[Case]:
    """Read `models.rest`."""
    head: tuple[int, str] | None = None
    body = ""
    for number, line in enumerate((HERE / "models.rest").read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("->"):
            assert head is not None, number
            words = head[1].split(" ", 2)
            method, url, kind = words[0], words[1], words[2] if len(words) > 2 else ""
            if method == "SQL":
                url, kind, body = "", "", head[1][4:]
            status, _, answer = line[2:].strip().partition(" ")
            yield Case(head[0], method, url, kind, body, int(status), answer)
            head, body = None, ""
        elif head is not None:
            body += line
        elif line and not line.startswith(("#", "==")):
            head = (number, line)


def send(server: Served, case: Case, files: dict[str, bytes]) -> Any:
    """The response to a case."""
    if case.method == "SQL":
        return server.post(case.body)
    content = files[case.body[1:]] if case.body.startswith("@") else case.body.replace("{nl}", "\n").encode()
    if case.kind.startswith("multipart"):
        name = case.kind.split()[1]
        return server.request(case.method, case.url, files={"file": (name, content)})
    headers = {"Content-Type": case.kind} if case.kind else {}
    if case.kind == "application/x-www-form-urlencoded":
        content = content.replace(b"\n", b"")  # as curl -d does
    return server.request(case.method, case.url, data=content or None, headers=headers)


def mismatch(case: Case, response: Any, known: dict[str, Any]) -> str | None:
    """What is wrong with a response, if anything."""
    text = response.content.decode("utf-8", "replace")
    if response.status_code != case.status:
        return f"{response.status_code}"
    if case.status >= 400:
        error = response.json()["error"]
        assert set(error) == {"code", "message", "hint", "details"}
        assert "Traceback" not in text
    if case.answer.startswith("/"):
        return None if re.search(case.answer[1:-1], text, re.DOTALL) else "does not match"
    if case.answer.startswith("@"):
        return None if response.json() == known[case.answer[1:]] else "differs"
    return None if not case.answer or response.json() == json.loads(case.answer) else "differs"


def test_cases(serve: Serve) -> None:
    server, files = serve("--no-mysql"), bodies()
    whole = trips()
    known = {
        "answers": whole["lived"].tolist(),
        "trips": json.loads(whole.to_json(orient="records")),
    }
    wrong = []
    for case in cases():
        response = send(server, case, files)
        found = mismatch(case, response, known)
        if found is not None:
            wrong.append(f"models.rest:{case.line}: {case.method} {case.url} {found}: {response.text[:600]}")
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def trained(served: Served) -> Served:
    """The server with the model `trip`, as the seed makes it."""
    posted = served.request("POST", "/models/trip?_retrain=1&target_col=lived", data=bodies()["trips.json"])
    assert posted.status_code == 200, posted.text
    return served


def test_rest_and_sql_give_equal_rows(trained: Served) -> None:
    """Bulk is a JOIN, one row is a WHERE, `_cache` is the table, and `_retrain` is RETRAIN."""
    posted = json.loads(bodies()["ask.json"])
    over_rest = trained.request("POST", "/models/trip", json=posted).json()
    joined = trained.rows("SELECT m.lived FROM mindsql_data.trip AS t JOIN trip AS m")
    assert over_rest == [answer for (answer,) in joined]
    for row in posted[:12]:
        where = " AND ".join(
            f"{name} IS NULL" if value is None else f"{name} = ${name}" for name, value in row.items()
        )
        asked = trained.rows(
            f"SELECT lived FROM trip WHERE {where}", {k: v for k, v in row.items() if v is not None}
        )
        query = {name: "" if value is None else value for name, value in row.items()}
        assert trained.request("GET", "/models/trip", params=query).json() == [answer for (answer,) in asked]
    assert trained.request("GET", "/models/rent?sqft=500&place=good").json() == [
        answer for (answer,) in trained.rows("SELECT rent FROM rent WHERE sqft = 500 AND place = 'good'")
    ]


def test_arrow_carries_rows_and_predictions(trained: Served) -> None:
    csv = {"Content-Type": "text/csv"}
    answer = trained.request("POST", "/models/trip?_format=arrow", data=bodies()["ask.csv"], headers=csv)
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.column_names == [*trips().columns]
    assert table.column("lived").to_pylist() == trips()["lived"].tolist()


def test_curl_as_it_is_typed(trained: Served, tmp_path: Path) -> None:
    """What `curl -d @file` does to a body, only curl knows."""
    curl = shutil.which("curl")
    assert curl is not None
    for name, content in bodies().items():
        (tmp_path / name).write_bytes(content)

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [curl, "-sS", *arguments], cwd=tmp_path, capture_output=True, timeout=120, check=True
        )
        return json.loads(done.stdout)

    url = f"{trained.url}/models/trip"
    assert run("-d", "@ask.json", url) == trips()["lived"].tolist()
    assert run("-d", "@ask.ndjson", url) == trips()["lived"].tolist()
    assert run("-F", "file=@ask.xlsx", url) == trips()["lived"].tolist()
    assert run("-d", "@trips.json", f"{url}?_retrain=1&target_col=lived") == {"score": 1.0}
    assert run("-d", "@ask.csv", url)["error"]["hint"].startswith("curl -d takes the line breaks out")


def test_long_training_is_a_job(trained: Served) -> None:
    """Not waited for: 202 and a place to ask; the old version serves meanwhile; a failure is kept with the job."""
    url = "/models/trip?_retrain=1&target_col=lived&wait=0"
    begun = trained.request("POST", url, data=bodies()["trips.json"])
    assert begun.status_code == 202
    assert begun.headers["Location"] == begun.json()["url"]
    assert trained.request("POST", "/models/trip", data=bodies()["ask.json"]).status_code == 200
    job = _ended(trained, begun.json()["url"])
    assert (job["score"], job["phase"], job["progress"]) == (1.0, None, 1.0)
    begun = trained.request(
        "PUT", "/models/trip?class=KNeighborsClassifier&n_neighbors=5000&_retrain=1&wait=0"
    )
    failed = _ended(trained, begun.json()["url"])
    assert failed["status"] == "error" and failed["error"]
    before = trained.request("GET", "/models/trip").json()["version"]
    endless = "/models/trip?class=GradientBoostingClassifier&n_estimators=1000000&_retrain=1&wait=0"
    begun = trained.request("PUT", endless)
    assert trained.request("DELETE", begun.json()["url"]).status_code == 202
    assert _ended(trained, begun.json()["url"])["status"] == "error"
    assert trained.request("GET", "/models/trip").json()["version"] == before
    assert trained.request("GET", "/jobs/none").status_code == 404
    assert begun.json()["id"] in [job["id"] for job in trained.request("GET", "/jobs").json()]
    assert trained.request("POST", "/models/trip?_retrain=1&wait=-1").status_code == 422


def test_training_and_deleting_at_once(served: Served) -> None:
    """Whoever comes second is told so, or finds the way free: what was asked for is not at fault."""
    rows = [{"a": i % 5, "y": i % 5 * 2.0} for i in range(40)]
    made = served.request("PUT", "/models/busy?class=Ridge&_retrain=1&target_col=y", json=rows)
    assert made.status_code == 200, made.text

    def post(_: int) -> requests.Response:
        return requests.post(f"{served.url}/models/busy?_retrain=1&target_col=y", json=rows, timeout=60)

    def delete(_: int) -> requests.Response:
        return requests.delete(f"{served.url}/models/busy", timeout=60)

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(call, i) for i in range(8) for call in (post, delete)]
    for answer in (future.result() for future in answers):
        assert answer.status_code in (200, 404, 409), answer.text
        assert "\\0" not in answer.text


def _ended(server: Served, url: str) -> Any:
    import time

    while (job := server.request("GET", url).json())["status"] in ("generating", "training"):
        time.sleep(0.05)
    return job


def test_an_untrained_version_survives_a_restart(serve: Serve) -> None:
    server = serve("--no-mysql")
    server.request("POST", "/models/trip?_retrain=1&target_col=lived", data=bodies()["trips.json"])
    server.request("PUT", "/models/trip?class=DecisionTreeClassifier&max_depth=2")
    server.stop()
    server = serve("--no-mysql")
    assert server.request("GET", "/models/trip").json()["untrained"]["class"] == "DecisionTreeClassifier"
    assert (
        server.request("POST", "/models/trip", data=bodies()["ask.json"]).json() == trips()["lived"].tolist()
    )
    assert server.request("POST", "/models/trip?_retrain=1").json() == {"score": 1.0}
    assert server.request("GET", "/models/trip?_model").json()["max_depth"] == 2


def test_roles(serve: Serve) -> None:
    """Looking is for read, asking for predict; what changes a model or gives it away is for write."""
    server = serve("--no-mysql")
    rows = [{"a": i % 5, "y": i % 5 * 2.0} for i in range(40)]
    trained = server.request("PUT", "/models/m?class=LinearRegression&_retrain=1&target_col=y", json=rows)
    assert trained.status_code == 200, trained.text
    secrets = {}
    for role in ("admin", "read", "predict"):
        made = server.request("POST", "/tokens", json={"name": role, "role": role})
        assert made.status_code == 201, made.text
        secrets[role] = server.token = made.json()["secret"]
        server.token = secrets["admin"]
    looks = ["GET ", "GET ?_cache", "GET ?_model", "GET ?_params", "GET ?_opts"]
    asks = ["GET ?a=1", "POST ", "POST ?_action=score", "POST ?_format=csv"]
    writes = ["POST ?_retrain=1", "POST ?_action=append", "PUT ?class=Ridge", "DELETE ", "GET ?_download"]
    may = {"read": looks, "predict": looks + asks, "none": []}
    for role, allowed in may.items():
        server.token = secrets.get(role)
        for request in looks + asks + writes:
            method, _, query = request.partition(" ")
            body = rows if method == "POST" else None
            answer = server.request(method, f"/models/m{query}", json=body)
            refused = 401 if role == "none" else 403
            assert answer.status_code == (200 if request in allowed else refused), (
                role,
                request,
                answer.text,
            )
