"""Owns what the server counts of itself, in Prometheus' form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from mindsql.server.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters of one server."""

    def __init__(self, service: Service) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "mindsql_requests", "Requests answered.", ["door", "path", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "mindsql_request_seconds", "Time to the end of the answer.", ["door", "path"], registry=registry
        )
        self._rows = Counter("mindsql_rows", "Rows sent to clients.", ["door"], registry=registry)
        self._predictions = Counter(
            "mindsql_predictions", "Rows that engines were asked for.", ["model"], registry=registry
        )
        self._engine = Histogram(
            "mindsql_engine_seconds", "Time of one call of an engine.", ["model"], registry=registry
        )
        queue = Gauge("mindsql_queue", "Statements that wait for a worker.", registry=registry)
        queue.set_function(lambda: service.queued)
        sessions = Gauge("mindsql_sessions", "Open sessions.", registry=registry)
        sessions.set_function(lambda: len(service.sessions))
        running = Gauge("mindsql_running", "Statements that run.", registry=registry)
        running.set_function(lambda: sum(s.statement is not None for s in list(service.sessions.values())))

    def request(self, path: str, method: str, status: int, seconds: float, door: str = "http") -> None:
        """Count a request. `path` is a route's pattern: what clients make up must not become a label."""
        self._requests.labels(door, path, method, str(status)).inc()
        self._seconds.labels(door, path).observe(seconds)

    def rows(self, door: str, count: int) -> None:
        """Count rows sent."""
        self._rows.labels(door).inc(count)

    def predicted(self, model: str, rows: int, seconds: float) -> None:
        """Count a call of an engine. What DuckDB computes of a model is no call."""
        self._predictions.labels(model).inc(rows)
        self._engine.labels(model).observe(seconds)

    def text(self) -> bytes:
        """What Prometheus reads."""
        return generate_latest(self._registry)
