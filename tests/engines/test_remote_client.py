"""The shared client against a server with scripted faults: what is tried again, what is not, what holds in between."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from servers.scripted import Answer, Request, Server, in_turn

import mindsql
from mindsql.connection import Connection
from mindsql.engine import Context, Network
from mindsql.errors import AccessError, Cancelled, EngineError, MindSQLError
from mindsql.network import HostRefused
from mindsql.settings import Settings as ConnectionSettings
from mindsql_engines.remote import failures, fanout, hosts
from mindsql_engines.remote.client import Client, Reply
from mindsql_engines.remote.settings import Settings


def client(server: Server, **given: Any) -> Client:
    context = given.pop("context", None) or Context()
    return Client(Settings(**given), server.url, context)


def post(server: Server, path: str = "/", **given: Any) -> Reply:
    asked = client(server, **given)
    return fanout.ask_one(asked, lambda: asked.post(server.url + path, {"a": 1}))


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mindsql_engines.remote.client._FIRST_WAIT", 0.001)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.usefixtures("no_pauses")
def test_tried_again(status: int) -> None:
    with Server(in_turn(Answer({}, status=status), Answer({}, status=status), "fine")) as server:
        assert post(server).json() == "fine"
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 424])
def test_not_tried_again(status: int) -> None:
    with Server(in_turn(Answer({"error": "these are the words"}, status=status))) as server:
        with pytest.raises(EngineError, match=f"answered {status} .*: these are the words") as report:
            post(server)
        assert (len(server.requests) == 1 and report.value.hint) or status in (422,)


@pytest.mark.usefixtures("no_pauses")
def test_in_the_end_it_fails() -> None:
    with Server(in_turn(Answer({"detail": "no"}, status=502))) as server:
        with pytest.raises(EngineError, match=r"answered 502 Bad Gateway: no \(tried 3 times\)"):
            post(server, retries=2)
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Answer({}, status=429, headers={"Retry-After": "0.3"}),
        Answer({}, status=429, headers={"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"api";q=5;w=3'}),
        Answer({}, status=503, headers={"X-RateLimit-Reset": "1"}),
        Answer({"error": "Model x is currently loading", "estimated_time": 0.3}, status=503),
    ],
)
def test_it_waits_as_long_as_it_is_told(answer: Answer) -> None:
    at: list[float] = []

    def late(request: Request) -> Any:
        at.append(time.monotonic())
        return answer if len(at) == 1 else "fine"

    with Server(late) as server:
        assert post(server).json() == "fine"
    assert at[1] - at[0] >= 0.29


def test_it_waits_no_longer_than_max_wait() -> None:
    with Server(in_turn(Answer({"error": "loading", "estimated_time": 500}, status=503))) as server:
        with pytest.raises(EngineError, match="loading; it asks to wait 500 s") as report:
            post(server, max_wait=2)
        assert "max_wait is 2 s" in str(report.value.hint) and len(server.requests) == 1


def test_told_waits() -> None:
    now = time.time()
    date = formatdate(now + 60, usegmt=True)
    assert failures.told_wait({"Retry-After": date}, b"", now) == pytest.approx(60, abs=1.5)
    assert failures.told_wait({"Retry-After": "soon"}, b"{}", now) is None
    assert failures.told_wait({"RateLimit": "limit=10, remaining=0, reset=7"}, b"", now) == 7
    assert failures.told_wait({"X-RateLimit-Reset": str(now + 30)}, b"", now) == pytest.approx(30, abs=0.1)
    assert failures.told_wait({}, b"<html>", now) is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"<html><head><title>x</title></head><body>Sign in</body></html>"), "no JSON: Sign in"),
        (Answer({"a": "b" * 1000}, cut=20), "broke off"),
        (Answer({"a": "b" * 1000}, drip=0.05), "no complete answer within 0.4 s"),
        (Answer({}, delay=2.0), "no complete answer within 0.4 s"),
        (Answer({}, status=307, headers={"Location": "http://127.0.0.1:1/x"}), "answered 307"),
    ],
)
@pytest.mark.usefixtures("no_pauses")
def test_broken_answers(answer: Answer, message: str) -> None:
    with Server(in_turn(answer)) as server, pytest.raises(EngineError, match=message):
        asked = client(server, timeout=0.4, retries=1)
        fanout.ask_one(asked, lambda: asked.post(server.url, {}).json())


def test_a_key_never_crosses_a_redirect() -> None:
    with Server(in_turn("fine")) as other:
        for status in (301, 302, 303, 307, 308):
            redirect = Answer({}, status=status, headers={"Location": other.url + "/x"})
            with Server(in_turn(redirect)) as server:
                with pytest.raises(EngineError, match=f"answered {status}") as report:
                    post(server, api_key="k3y", headers={"X-Key": "k3y"})
                assert "give that URL" in str(report.value.hint) and "k3y" not in str(report.value)
        assert not other.requests
        # To another origin it is not sent even when asked for it.
        asked = client(server, api_key="k3y", headers={"X-Key": "k3y"})
        assert fanout.ask_one(asked, lambda: asked.post(other.url, {})).json() == "fine"
        assert "k3y" not in str(other.requests[0].headers)


def test_a_redirect_within_the_origin_is_followed() -> None:
    with Server(
        lambda r: Answer({}, status=307, headers={"Location": "/b/"}) if r.path == "/b" else r.path
    ) as server:
        assert post(server, "/b", api_key="k3y").json() == "/b/"
        assert server.requests[1].headers["Authorization"] == "Bearer k3y"


def test_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Server(in_turn(Answer("fine", headers={"Set-Cookie": "a=b"}))) as server:
        for _ in range(2):
            assert post(server).json() == "fine"
        assert not any("Authorization" in r.headers or "Cookie" in r.headers for r in server.requests)


# Hosts --------------------------------------------------------------------------------------------------------


def test_allowed_hosts() -> None:
    network = Network(allowed_hosts=("models.example.com", "*.corp"))
    for url in ("http://models.example.com/x", "https://a.b.CORP:99/x"):
        hosts.check_url(url, network)
    for url in ("http://example.com/", "http://corp/", "http://models.example.com.evil/"):
        with pytest.raises(HostRefused, match="may not ask the host"):
            hosts.check_url(url, network)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.1.1", "[::1]", "[::ffff:10.0.0.1]", "0.0.0.0",
             "localhost", "[64:ff9b::a00:1]", "2130706433", "[fe80::1]", "100.64.0.1"],
)  # fmt: skip
def test_a_server_is_not_led_to_private_addresses(host: str) -> None:
    with pytest.raises(HostRefused, match="may not ask"):
        hosts.check_url(f"http://{host}:80/latest", Network(private=False))


def test_the_address_is_looked_at_when_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may lead elsewhere the second time it is looked up."""
    monkeypatch.setattr("mindsql.network.addresses", lambda host, port: ["93.184.216.34"])
    with Server(in_turn("fine")) as server:
        with pytest.raises(HostRefused, match=r"leads to the address 127\.0\.0\.1"):
            post(server, context=Context(network=Network(private=False)))
        assert not server.requests


def test_settings_of_the_connection() -> None:
    text = (
        "CREATE MODEL m PREDICT y USING format = 'ray_serve', url.predict = 'http://127.0.0.1:9/p', "
        "dtype_dict = {'a': 'integer', 'y': 'float'}"
    )
    for settings in (ConnectionSettings(private_hosts=False), ConnectionSettings(allowed_hosts=("x.com",))):
        with mindsql.connect(settings=settings) as con, pytest.raises(AccessError, match="may not ask"):
            con.execute(text)


# Many rows ----------------------------------------------------------------------------------------------------


def echo(request: Request) -> Any:
    df = json.loads(request.json()["df"])
    values = list(df["a"].values())
    if any(value % 100 == 99 for value in values):
        return Answer({"error": f"a bad row among {len(values)}"}, status=400)
    return {"prediction": values}


def model(con: Connection, server: Server, more: str = "") -> None:
    con.execute(
        f"CREATE OR REPLACE MODEL m PREDICT y USING format = 'ray_serve', url.predict = '{server.url}/predict', "
        f"dtype_dict = {{'a': 'integer', 'y': 'float'}}{more}"
    )


def test_bad_rows_are_found_and_the_others_kept(con: Connection) -> None:
    with Server(echo) as server:
        model(con, server, ", batch_rows = 1000, on_error = 'null'")
        query = (
            "SELECT t.a, m.y, m.y_error FROM (SELECT i AS a FROM range(20000) s(i)) AS t JOIN m ORDER BY t.a"
        )
        rows = con.execute(query).fetchall()
        assert [a for a, _, _ in rows] == list(range(20000))
        assert all((y is None) == (a % 100 == 99) and (y is None or y == a) for a, y, _ in rows)
        assert all((error is None) == (y is not None) for _, y, error in rows)
        assert "a bad row among 1" in rows[99][2]
        with pytest.raises(EngineError, match="a bad row among 1000"):
            con.execute(query + " USING on_error = 'fail'").fetchall()


def test_equal_rows_are_sent_once_however_far_apart(
    con: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mindsql.executor.spilling_memo._IN_MEMORY", 1 << 16)
    with Server(echo) as server:
        model(con, server, ", on_error = 'null'")
        rows = "SELECT i % 60000 * 100 AS a FROM range(150000) s(i)"
        query = f"SELECT count(*), count(m.y), sum(m.y) FROM ({rows}) AS t JOIN m"
        assert con.execute(query).fetchall() == [(150000, 150000, 100 * sum(i % 60000 for i in range(150000)))]
        sent = [v for r in server.requests for v in json.loads(r.json()["df"])["a"].values()]
        assert len(sent) == len(set(sent)) == 60000


@pytest.mark.usefixtures("no_pauses")
def test_a_wrong_count_is_an_error_and_shifts_nothing(con: Connection) -> None:
    with Server(lambda request: {"prediction": [1.0]}) as server:
        model(con, server)
        with pytest.raises(EngineError, match='asked for 3 rows, and "prediction" of its answer has 1'):
            con.execute("SELECT m.y FROM (VALUES (1), (2), (3)) AS t(a) JOIN m").fetchall()


@pytest.mark.parametrize("fetch", [lambda result: result.fetchall(), lambda result: result.df()])
def test_it_can_be_stopped_within_a_second(con: Connection, fetch: Callable[[Any], Any]) -> None:
    began = threading.Event()

    def slow(request: Request) -> Any:
        began.set()
        return Answer({"prediction": [0.0]}, delay=1.5)

    with Server(slow) as server:
        model(con, server, ", batch_rows = 1")
        took: list[float] = []

        def stop() -> None:
            began.wait()
            took.append(time.monotonic())
            con.interrupt()

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(Cancelled):
            fetch(con.execute("SELECT m.y FROM (SELECT i AS a FROM range(9999) s(i)) AS t JOIN m"))
        took.append(time.monotonic())
        thread.join()
        seen = len(server.requests)
        assert took[1] - took[0] < 1
        time.sleep(0.3)
        assert len(server.requests) <= seen + 4  # nothing goes on behind one's back
        assert con.execute("SELECT 1").fetchall() == [(1,)]


def test_waiting_can_be_stopped(con: Connection) -> None:
    began = threading.Event()

    def busy(request: Request) -> Any:
        began.set()
        return Answer({}, status=429, headers={"Retry-After": "60"})

    with Server(busy) as server:
        model(con, server)
        threading.Thread(target=lambda: (began.wait(), time.sleep(0.2), con.interrupt())).start()
        start = time.monotonic()
        with pytest.raises(Cancelled):
            con.execute("SELECT y FROM m WHERE a = 1").fetchall()
        assert time.monotonic() - start < 20


def test_the_time_of_a_statement_is_limited(con: Connection) -> None:
    with Server(lambda request: Answer({"prediction": [0.0]}, delay=0.1)) as server:
        model(con, server, ", batch_rows = 1, concurrency = 2, time_limit = 0.5")
        for more in ("", " USING on_error = 'null'"):
            with pytest.raises(EngineError, match=r"took longer than 0\.5 s"):
                con.execute(
                    "SELECT m.y FROM (SELECT i AS a FROM range(999) s(i)) AS t JOIN m" + more
                ).fetchall()


@pytest.mark.usefixtures("no_pauses")
def test_a_server_that_dies_and_comes_back(con: Connection) -> None:
    count = [0]

    def dies(request: Request) -> Any:
        count[0] += 1
        if count[0] == 3:
            threading.Thread(target=first.close).start()
            time.sleep(0.2)
        return echo(request)

    query = (
        "SELECT t.a, m.y, m.y_error FROM (SELECT i * 100 AS a FROM range(300) s(i)) AS t JOIN m ORDER BY 1"
    )
    first = Server(dies)
    model(con, first, ", batch_rows = 10, concurrency = 1, connect_timeout = 1, on_error = 'null'")
    rows = con.execute(query).fetchall()
    assert len(rows) == 300 and [a for a, _, _ in rows] == [100 * i for i in range(300)]
    assert all((y == a and not error) or (y is None and error) for a, y, error in rows)
    assert 20 <= sum(y is not None for _, y, _ in rows) < 300
    with pytest.raises(EngineError, match="cannot be reached, or broke off"):
        con.execute(query + " USING on_error = 'fail'").fetchall()
    with Server(echo, port=first.port):
        assert all(y == a for a, y, _ in con.execute(query).fetchall())


def test_progress_tells_rows_and_requests() -> None:
    told = []

    class Listener:
        def update(self, event: Any) -> None:
            told.append((event.phase, event.done))

        def finish(self) -> None:
            pass

    late = Server(lambda request: Answer(echo(request), delay=0.05))
    with late as server, mindsql.connect(progress=Listener()) as con:
        model(con, server, ", batch_rows = 1, concurrency = 2")
        con.execute("SELECT m.y FROM (SELECT i AS a FROM range(20) s(i)) AS t JOIN m").fetchall()
    assert any("requests in flight" in phase and 0 < done < 20 for phase, done in told), told


def test_answers_are_kept_in_the_file_but_for_failures(tmp_path: Any) -> None:
    path = str(tmp_path / "kept.duckdb")
    query = "SELECT t.a, m.y, m.y_error IS NULL FROM (SELECT i AS a FROM range(200) s(i)) AS t JOIN m ORDER BY t.a"
    with Server(echo) as server:
        with mindsql.connect(path) as con:
            model(con, server, ", cache = true, on_error = 'null'")
            first = con.execute(query).fetchall()
        server.requests.clear()
        with mindsql.connect(path) as con:
            assert con.execute(query).fetchall() == first
            asked = [v for r in server.requests for v in json.loads(r.json()["df"])["a"].values()]
            assert set(asked) == {99, 199}
            server.requests.clear()
            model(con, server, ", cache = true, on_error = 'null'")  # another version: nothing is known of it
            assert con.execute("SELECT y FROM m WHERE a = 1").fetchall() == [(1,)] and server.requests
        server.requests.clear()
        with mindsql.connect(path, read_only=True) as con:
            assert sorted(con.execute("SELECT a, y FROM m WHERE a IN (1, 2)").fetchall()) == [(1, 1), (2, 2)]
            assert len(server.requests) == 1


def test_two_statements_share_a_model(con: Connection) -> None:
    with Server(echo) as server:
        model(con, server, ", batch_rows = 5")
        errors: list[MindSQLError] = []

        def ask(number: int) -> None:
            with con.cursor() as other:
                rows = other.execute(
                    f"SELECT t.a, m.y FROM (SELECT 100 * i + {number} AS a FROM range(200) s(i)) AS t JOIN m"
                ).fetchall()
                if not all(a == y for a, y in rows):
                    errors.append(MindSQLError(f"{number}: {rows[:3]}"))

        threads = [threading.Thread(target=ask, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
