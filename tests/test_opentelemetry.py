"""aiolibsql.opentelemetry: spans and metrics, as the SDK exports them."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from situations import ENDLESS

import aiolibsql
from aiolibsql import dbapi

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aiolibsql.opentelemetry import instrument

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backend
    from opentelemetry.sdk.trace import ReadableSpan

    from aiolibsql.opentelemetry import Instrumentation

pytestmark = pytest.mark.anyio


class Telemetry:
    """The SDK, with exporters that keep what they are given."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._metrics])
        self.tracer = self.tracers.get_tracer("tests")

    def instrument(self, target: Any, **options: Any) -> Instrumentation:
        return instrument(
            target, tracer_provider=self.tracers, meter_provider=self.meters, **options
        )

    def spans(self) -> list[ReadableSpan]:
        """Return the spans of statements that have ended, and forget them."""
        ended = self._spans.get_finished_spans()
        self._spans.clear()
        return [span for span in ended if span.kind is SpanKind.CLIENT]

    def points(self, name: str) -> list[Any]:
        """Return the data points of a metric."""
        data = self._metrics.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


async def test_statement_is_a_span_with_the_conventional_names(
    file_backend: Backend, telemetry: Telemetry
) -> None:
    async with file_backend.connect() as conn:
        telemetry.instrument(conn)
        await conn.execute("CREATE TABLE t (x)")
        await conn.execute("/* a */ -- b\n insert INTO t VALUES (?)", ("s",))
        create, insert = telemetry.spans()
        await conn.commit()
    assert create.name == f"CREATE {file_backend.path}"
    assert dict(create.attributes or {}) == {
        "db.system.name": "sqlite",
        "db.namespace": str(file_backend.path),
        "db.operation.name": "CREATE",
        "db.query.text": "CREATE TABLE t (x)",
    }
    assert create.status.status_code is StatusCode.UNSET
    assert insert.attributes is not None
    assert insert.attributes["db.operation.name"] == "INSERT"
    assert create.start_time is not None
    assert create.end_time is not None
    assert insert.start_time is not None
    assert create.start_time < create.end_time
    assert create.start_time < insert.start_time
    (created,) = (
        point
        for point in telemetry.points("db.client.operation.duration")
        if point.attributes["db.operation.name"] == "CREATE"
    )
    assert created.count == 1
    assert created.sum == pytest.approx((create.end_time - create.start_time) / 1e9, abs=1e-6)


async def test_span_is_a_child_of_whoever_awaits(
    file_backend: Backend, telemetry: Telemetry
) -> None:
    parents: dict[str, int] = {}

    async def ask(conn: aiolibsql.Connection[Any], name: str) -> None:
        with telemetry.tracer.start_as_current_span(name) as span:
            parents[f"SELECT {name}"] = span.get_span_context().span_id
            await anyio.lowlevel.checkpoint()
            await conn.fetch_all(f"SELECT {name}")

    async with file_backend.connect() as conn:
        telemetry.instrument(conn)
        async with anyio.create_task_group() as group:
            group.start_soon(ask, conn, "date()")
            group.start_soon(ask, conn, "time()")
    found = {
        str(span.attributes["db.query.text"]): span.parent.span_id
        for span in telemetry.spans()
        if span.attributes and span.parent
    }
    assert found == parents
    assert len(found) == 2


async def test_error_and_cancellation_are_told(file_backend: Backend, telemetry: Telemetry) -> None:
    async with file_backend.connect() as conn:
        telemetry.instrument(conn)
        conn.include_query_in_errors = True
        await conn.execute("CREATE TABLE t (x UNIQUE)")
        with pytest.raises(aiolibsql.IntegrityError):
            await conn.execute("INSERT INTO t VALUES ('secret'), ('secret')")
        with anyio.move_on_after(0.05):
            await conn.execute(ENDLESS)
        _, failed, cancelled = telemetry.spans()
        await conn.rollback()
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "aiolibsql.exceptions.IntegrityError"
    assert failed.attributes["db.response.status_code"] == "SQLITE_CONSTRAINT_UNIQUE"
    assert failed.attributes["db.query.text"] == "INSERT INTO t VALUES (?), (?)"
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "UNIQUE constraint failed: t.x"
    assert cancelled.attributes is not None
    kind = anyio.get_cancelled_exc_class()
    assert str(cancelled.attributes["error.type"]).endswith(kind.__name__)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT x1, 'a''b', 12, -1.5e+3, .5, 0xff FROM t2", "SELECT x1, ?, ?, -?, ?, ? FROM t2"),
        ("SELECT x'00ff', \"1 'a\", [2], `3`", 'SELECT ?, "1 \'a", [2], `3`'),
        ("SELECT ?1, :a1, @b2, $c3 -- it's 4\n, 5", "SELECT ?1, :a1, @b2, $c3 -- it's 4\n, ?"),
        ("SELECT /* 'x' 1 */ 1", "SELECT /* 'x' 1 */ ?"),
        ("SELECT 'not closed 1", "SELECT ?"),
    ],
)
def test_literals_are_not_told(tmp_path: Path, telemetry: Telemetry, sql: str, told: str) -> None:
    conn = dbapi.connect(tmp_path / "x.db")
    telemetry.instrument(conn)
    with pytest.raises(dbapi.OperationalError):
        conn.execute(sql + " FROM no_such_table")
    (span,) = telemetry.spans()
    assert span.attributes is not None
    assert str(span.attributes["db.query.text"]).startswith(told)
    conn.close()


async def test_server_is_named(hosted: Backend, telemetry: Telemetry) -> None:
    async with hosted.connect() as conn:
        telemetry.instrument(conn, namespace=hosted.namespace)
        await conn.fetch_all("SELECT 1")
    (span,) = telemetry.spans()
    assert span.name == f"SELECT {hosted.namespace}"
    assert span.attributes is not None
    assert span.attributes["server.address"] == "127.0.0.1"
    assert span.attributes["server.port"] == hosted.port
    assert span.attributes["db.namespace"] == hosted.namespace


async def test_gauges_of_a_pool_are_observed(file_backend: Backend, telemetry: Telemetry) -> None:
    pool = file_backend.create_pool(3, acquire_timeout=0.05)
    instrumentation = telemetry.instrument(pool, namespace="app")
    async with pool:
        async with pool.write():
            counts = {
                point.attributes["db.client.connection.state"]: point.value
                for point in telemetry.points("db.client.connection.count")
            }
            stats = pool.stats()
            assert counts == {"idle": stats.idle, "used": stats.size - stats.idle}
            assert counts["used"] == 1
        (most,) = telemetry.points("db.client.connection.max")
        assert (most.value, dict(most.attributes)) == (
            3,
            {"db.client.connection.pool.name": "app"},
        )
        assert [p.value for p in telemetry.points("db.client.connection.pending_requests")] == [0]
        assert [p.value for p in telemetry.points("db.client.connection.timeouts")] == [0]
        instrumentation.uninstrument()
        instrumentation.uninstrument()
        telemetry.spans()
        await pool.fetch_all("SELECT 1")
        assert telemetry.spans() == []


async def test_instrumentation_keeps_nothing(file_backend: Backend, telemetry: Telemetry) -> None:
    pool = file_backend.create_pool(2)
    instrumentation = telemetry.instrument(pool)
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    assert telemetry.points("db.client.connection.max") == []
    instrumentation.uninstrument()


def test_other_targets_are_refused() -> None:
    with pytest.raises(TypeError, match="connection or a pool"):
        instrument(5)  # type: ignore[arg-type]
