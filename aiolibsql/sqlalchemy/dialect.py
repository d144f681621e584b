"""The dialect, for SQLAlchemy 2.0 and 2.1: what is alike in both, the blocking one, the async one.

SQLAlchemy begins a transaction before the first statement of a block, and here that is a BEGIN.
Python's own driver begins one before the first INSERT, UPDATE or DELETE instead, which makes
savepoints and what was read earlier no part of it; it is not so here.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, pool, util
from sqlalchemy.dialects.sqlite.base import SQLiteDialect, SQLiteExecutionContext
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

import aiolibsql
from aiolibsql.sqlalchemy import _urls
from aiolibsql.sqlalchemy._adapted import AdaptedModule
from aiolibsql.sqlalchemy._pools import AsyncQueuePool, AsyncStaticPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import URL, Engine, ExceptionContext

# The connection is of no more use. By class: messages change.
_LOST = (aiolibsql.ConnectionClosedError, aiolibsql.ConnectError, aiolibsql.StreamExpiredError)


def _regexp(pattern: str | None, value: str | None) -> bool | None:
    if pattern is None or value is None:
        return None
    return re.search(pattern, value) is not None


def _add_functions(dbapi_connection: Any) -> None:
    # SQLite has its own floor().
    dbapi_connection.create_function("regexp", 2, _regexp, deterministic=True)


def _bare(dbapi_connection: Any) -> Any:
    """Return a connection without the pool's wrapper, which would keep what is set."""
    return getattr(dbapi_connection, "dbapi_connection", dbapi_connection)


def _keep_usable(context: ExceptionContext) -> None:
    """Keep the connection after a cancellation or time-out: the driver has cleaned up.

    SQLAlchemy would close it, and with it drop a database in memory.
    """
    error = context.original_exception
    # Where a coroutine is closed, nothing can be awaited any more.
    if context.is_disconnect and not isinstance(error, (*_LOST, GeneratorExit)):
        context.is_disconnect = False


class SQLiteDialect_aiolibsql(SQLiteDialect_pysqlite):  # noqa: N801 - as SQLAlchemy's own
    """``sqlite+aiolibsql`` of `sqlalchemy.create_engine`, over `aiolibsql.dbapi`."""

    driver = "aiolibsql"
    supports_statement_cache = True

    # The verb of BEGIN that connections were opened with.
    _begin_mode: str = ""
    _is_server = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        event.listen(self, "handle_error", _keep_usable)

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return the module that connects."""
        import aiolibsql.dbapi  # noqa: PLC0415 - async engines do without it

        return aiolibsql.dbapi

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[SQLiteDialect_aiolibsql]:  # noqa: ARG003
        """Return what `create_async_engine` takes for the same URL."""
        return SQLiteDialect_aiolibsql_async

    @classmethod
    def _is_url_file_db(cls, url: URL) -> bool:
        return _urls.is_file(url)

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """Return a queue of connections, or a connection for each thread if it has the database."""
        if _urls.is_server(url) or _urls.is_file(url):
            return pool.QueuePool
        return pool.SingletonThreadPool

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Hide what is secret in the engine's URL, so that its repr does not show it."""
        engine.url = _urls.without_secrets(engine.url)

    def create_connect_args(self, url: URL) -> Any:
        """Return the arguments of ``connect`` for a URL."""
        self._is_server = _urls.is_server(url)
        args, options = _urls.connect_arguments(url)
        if not self.is_async:
            options.setdefault("check_same_thread", self.get_pool_class(url) is not pool.QueuePool)
        return args, options

    def connect(self, *cargs: Any, **cparams: Any) -> Any:
        """Open a connection."""
        self._begin_mode = cparams.get("isolation_level") or ""
        return super().connect(*cargs, **cparams)

    def on_connect_url(self, url: URL) -> Callable[[Any], None] | None:
        """Return what a new connection is prepared with: a server takes no functions."""
        return None if _urls.is_server(url) else self.on_connect()

    def on_connect(self) -> Callable[[Any], None]:
        """Return what adds the function of the operator REGEXP to a new connection."""
        return _add_functions

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin a transaction, unless the user has done so or wants none."""
        if (
            dbapi_connection.isolation_level is None
            or dbapi_connection.autocommit != aiolibsql.LEGACY_TRANSACTION_CONTROL
            or dbapi_connection.in_transaction
        ):
            return
        if self._is_server and not dbapi_connection.isolation_level:
            # BEGIN is not a round trip then: it goes with the first statement.
            _bare(dbapi_connection).autocommit = False
            return
        dbapi_connection.execute(f"BEGIN {dbapi_connection.isolation_level}")

    def do_commit(self, dbapi_connection: Any) -> None:
        """Commit what was begun."""
        self._end_begin(dbapi_connection)
        try:
            super().do_commit(dbapi_connection)  # type: ignore[no-untyped-call]
        except BaseException:
            # SQLAlchemy takes the transaction for ended now, and lends the connection to the next.
            with contextlib.suppress(aiolibsql.Error):
                self.do_rollback(dbapi_connection)
            raise

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Undo what was begun."""
        self._end_begin(dbapi_connection)
        super().do_rollback(dbapi_connection)  # type: ignore[no-untyped-call]

    def _end_begin(self, dbapi_connection: Any) -> None:
        # Before the end, or that would begin the next one.
        if self._is_server and dbapi_connection.autocommit is False:
            _bare(dbapi_connection).autocommit = aiolibsql.LEGACY_TRANSACTION_CONTROL

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Set the level of a connection, as of other dialects for SQLite."""
        if level == "AUTOCOMMIT":
            dbapi_connection.isolation_level = None
            return
        if dbapi_connection.isolation_level is None:
            dbapi_connection.isolation_level = self._begin_mode
        if not self._is_server:
            # Not the one for Python's driver, which forgets the verb of BEGIN.
            SQLiteDialect.set_isolation_level(self, dbapi_connection, level)

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """Return the level of a connection; servers have one, and no PRAGMA for it."""
        if self._is_server:
            return "SERIALIZABLE"
        return super().get_isolation_level(dbapi_connection)  # type: ignore[no-untyped-call]

    def get_isolation_level_values(self, dbapi_connection: Any) -> Any:
        """Return the levels that there are."""
        levels = super().get_isolation_level_values(dbapi_connection)  # type: ignore[no-untyped-call]
        if self._is_server:
            return [level for level in levels if level != "READ UNCOMMITTED"]
        return levels

    def detect_autocommit_setting(self, dbapi_conn: Any) -> bool:
        """Tell whether a connection commits each statement."""
        return dbapi_conn.isolation_level is None or dbapi_conn.autocommit is True

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:  # noqa: ARG002
        """Tell whether an error means that its connection is of no more use."""
        return isinstance(e, _LOST)

    def retrieve_dbapi_version(self, dbapi: Any) -> Any:  # noqa: ARG002
        """Return the version of the driver (SQLAlchemy 2.1)."""
        return util.parse_version_string(aiolibsql.__version__)


class _AsyncExecutionContext(SQLiteExecutionContext):
    def create_server_side_cursor(self) -> Any:
        return self._dbapi_connection.cursor(server_side=True)


class SQLiteDialect_aiolibsql_async(SQLiteDialect_aiolibsql):  # noqa: N801 - see above
    """``sqlite+aiolibsql`` of `create_async_engine`, over the awaitables."""

    supports_statement_cache = True
    is_async = True
    has_terminate = True
    supports_server_side_cursors: bool = True
    execution_ctx_cls: Any = _AsyncExecutionContext

    @classmethod
    def import_dbapi(cls) -> Any:
        """Return the module that connects."""
        return AdaptedModule(aiolibsql)

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """Return a queue of connections, or the one connection that a database in memory has."""
        if _urls.is_server(url) or _urls.is_file(url):
            return AsyncQueuePool
        return AsyncStaticPool

    def get_driver_connection(self, connection: Any) -> Any:
        """Return the `aiolibsql.Connection`."""
        return connection.driver_connection

    def do_terminate(self, dbapi_connection: Any) -> None:
        """Close a connection without waiting for anybody."""
        dbapi_connection.terminate()
