"""OpenTelemetry: a span for each statement, its duration, and the gauges of pools.

It comes with the extra ``aiolibsql[opentelemetry]``, stands on `aiolibsql.Connection.on_query`
alone, and names things as the semantic conventions for databases do. Parameters are never told, and
literals in a text become ``?``.
"""

from __future__ import annotations

import re
import time
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import metrics, trace

import aiolibsql
from aiolibsql._database_name import is_remote, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiolibsql import dbapi
    from aiolibsql._types import QueryHook

__all__ = ["Instrumentation", "instrument"]

# What stays: comments, quoted names, names, parameters. What does not: texts, blobs, numbers.
_TOKEN = re.compile(
    r"""(?P<kept>--[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"]|"")*"|`[^`]*`|\[[^]]*\]"""
    r"""|(?![xX]')[^\W\d]\w*|[?:@$#]\w+)"""
    r"""|(?:[xX])?'(?:[^']|'')*(?:'|\Z)|(?:\d|\.\d)(?:[eE][+-]|[\w.])*""",
    re.DOTALL,
)
_OPERATION = re.compile(r"(?:\s|;|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))*(\w+)", re.DOTALL)
# What the conventions advise for durations in seconds.
_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10]


class Instrumentation:
    """What `instrument` has begun. It does not keep the connection or pool."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end

    def uninstrument(self) -> None:
        """End it; a second time does nothing."""
        end, self._end = self._end, None
        if end is not None:
            end()


def instrument(
    target: aiolibsql.Connection[Any] | aiolibsql.ConnectionPool | dbapi.Connection,
    *,
    namespace: str | None = None,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> Instrumentation:
    """Tell OpenTelemetry of the statements of a connection or a pool.

    Each statement that `aiolibsql.Connection.on_query` tells of becomes a span of the kind CLIENT,
    whose parent is the current span of the task that awaits, and a value of the histogram
    ``db.client.operation.duration``. Of a pool there are also ``db.client.connection.count``,
    ``.max``, ``.pending_requests`` and ``.timeouts``.

    Args:
        target: The connection or pool.
        namespace: For ``db.namespace``; None for the file, or the path of the URL.
        tracer_provider: Where spans go; None for the global one.
        meter_provider: Where metrics go; None for the global one.

    Returns:
        What ends it.

    Raises:
        TypeError: For something else than a connection or a pool.

    Example:
        ```python
        pool = aiolibsql.create_pool("app.db")
        aiolibsql.opentelemetry.instrument(pool)
        ```
    """
    if isinstance(target, aiolibsql.ConnectionPool):
        name = shown(target._database)  # noqa: SLF001 - ours
    elif hasattr(target, "on_query"):
        name = target._label  # noqa: SLF001 - ours
    else:
        raise TypeError(f"target must be a connection or a pool, not {type(target).__name__}")
    tracer = trace.get_tracer("aiolibsql", aiolibsql.__version__, tracer_provider)
    meter = metrics.get_meter("aiolibsql", aiolibsql.__version__, meter_provider)
    hook = target.on_query(_hook(tracer, meter, _place(name, namespace)))
    known = weakref.ref(target)
    is_on = [True]
    if isinstance(target, aiolibsql.ConnectionPool):
        _observe(meter, lambda: _stats_of(known()) if is_on else None, namespace or name)

    def end() -> None:
        is_on.clear()
        found = known()
        if found is not None:
            found.off_query(hook)

    return Instrumentation(end)


def _place(name: str, namespace: str | None) -> dict[str, str | int]:
    """Return the attributes that all statements of a database have."""
    place: dict[str, str | int] = {"db.system.name": "sqlite"}
    if is_remote(name):
        url = urlsplit(name)
        place["server.address"] = url.hostname or ""
        if url.port is not None:
            place["server.port"] = url.port
        namespace = namespace or url.path.strip("/")
    if namespace or not is_remote(name):
        place["db.namespace"] = namespace or name
    return place


def _hook(tracer: trace.Tracer, meter: metrics.Meter, place: dict[str, str | int]) -> QueryHook:
    durations = meter.create_histogram(
        "db.client.operation.duration",
        unit="s",
        description="Duration of database client operations.",
        explicit_bucket_boundaries_advisory=_BUCKETS,
    )
    where = place.get("db.namespace") or place["server.address"]

    def tell(sql: str, seconds: float, rows: int, error: BaseException | None) -> None:  # noqa: ARG001 - a hook's
        ended = time.time_ns()
        attributes = dict(place)
        found = _OPERATION.match(sql)
        if found is not None:
            attributes["db.operation.name"] = found[1].upper()
        if error is not None:
            attributes["error.type"] = _name(error)
            code = getattr(error, "sqlite_errorname", None)
            if code is not None:
                attributes["db.response.status_code"] = code
        durations.record(seconds, attributes)
        operation = attributes.get("db.operation.name", "sqlite")
        span = tracer.start_span(
            f"{operation} {where}",
            kind=trace.SpanKind.CLIENT,
            attributes={**attributes, "db.query.text": _TOKEN.sub(_without_value, sql)},
            start_time=ended - round(seconds * 1e9),
        )
        if error is not None:
            # `include_query_in_errors` has the text there, with its literals.
            message = str(error).partition("\nQuery: ")[0]
            span.set_status(trace.Status(trace.StatusCode.ERROR, message))
        span.end(ended)

    return tell


def _without_value(token: re.Match[str]) -> str:
    return token["kept"] or "?"


def _name(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _stats_of(pool: object) -> tuple[aiolibsql.PoolStats, int] | None:
    if not isinstance(pool, aiolibsql.ConnectionPool) or pool.closed:
        return None
    return pool.stats(), pool.size


def _observe(
    meter: metrics.Meter,
    look: Callable[[], tuple[aiolibsql.PoolStats, int] | None],
    name: str,
) -> None:
    """Have a pool's gauges observed."""
    pool = {"db.client.connection.pool.name": name}
    state = "db.client.connection.state"

    def observation(
        of: Callable[[aiolibsql.PoolStats, int], dict[str, int]],
    ) -> Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]:
        def observe(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
            found = look()
            for key, value in of(*found).items() if found else ():
                yield metrics.Observation(value, {**pool, state: key} if key else pool)

        return observe

    meter.create_observable_up_down_counter(
        "db.client.connection.count",
        [observation(lambda stats, _: {"idle": stats.idle, "used": stats.size - stats.idle})],
        unit="{connection}",
        description="Connections that are open, by what they do.",
    )
    meter.create_observable_up_down_counter(
        "db.client.connection.max",
        [observation(lambda _, size: {"": size})],
        unit="{connection}",
        description="How many connections there may be.",
    )
    meter.create_observable_up_down_counter(
        "db.client.connection.pending_requests",
        [observation(lambda stats, _: {"": stats.waiting})],
        unit="{request}",
        description="Callers that wait for a connection.",
    )
    meter.create_observable_counter(
        "db.client.connection.timeouts",
        [observation(lambda stats, _: {"": stats.timeouts})],
        unit="{timeout}",
        description="Callers that got no connection in time.",
    )
