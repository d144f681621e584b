# ruff: noqa: PYI021 - this stub is the reference manual
"""The extension module: connections, cursors and rows, and the operations that methods return."""

import sqlite3
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from types import GenericAlias, TracebackType
from typing import Any, ClassVar, Final, Generic, Literal, NoReturn, SupportsIndex, final, overload

from typing_extensions import Buffer, Self, TypeVar, disjoint_base

from aiolibsql import dbapi, exceptions
from aiolibsql._dump import Dump
from aiolibsql._pool import ConnectionPool
from aiolibsql._replicas import SyncResult, SyncStats
from aiolibsql._streaming import RowChunks
from aiolibsql._types import (
    AuthToken,
    AutocommitSetting,
    BatchOperation,
    Description,
    InitHook,
    IsolationLevel,
    Parameters,
    QueryHook,
    RowFactory,
    TextFactory,
)

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_RowT_co = TypeVar("_RowT_co", covariant=True, default=tuple[Any, ...])
_QueryHookT = TypeVar("_QueryHookT", bound=QueryHook)
_CursorT = TypeVar("_CursorT", bound=Cursor[Any])

__all__ = [
    "PARSE_COLNAMES",
    "PARSE_DECLTYPES",
    "Blob",
    "Connection",
    "Cursor",
    "Operation",
    "PoolCursor",
    "PreparedQuery",
    "Row",
    "RowIterator",
    "Transaction",
    "_Backup",
    "_MemoryName",
    "_Pool",
    "_dbapi",
    "_error_for_code",
    "_fetch_plain",
    "adapt",
    "adapters",
    "complete_statement",
    "converters",
    "enable_callback_tracebacks",
    "register_adapter",
    "register_converter",
    "sqlite_version",
]

_dbapi: Any

sqlite_version: Final[str]
"""The version of the SQLite inside, such as ``"3.45.1"`` (as `sqlite3`)."""

def complete_statement(statement: str) -> bool:
    """Tell whether a text ends with a whole SQL statement (as `sqlite3`).

    It looks at semicolons, quotes, comments and triggers, not at the grammar.

    Args:
        statement: SQL, of one statement or several.

    Returns:
        Whether nothing is missing, so that a shell need not ask for another line.
    """

def enable_callback_tracebacks(enable: bool, /) -> None:
    """Report the exceptions of callbacks to `sys.unraisablehook` too (as `sqlite3`).

    They are the ``__cause__`` of the statement's error in any case; those that no error can tell
    of, such as a trace callback's, are always reported.

    Args:
        enable: Whether to.
    """

adapters: Final[dict[tuple[type[Any], Any], Callable[[Any], Any]]]
"""What `register_adapter` has registered, by class and protocol (as `sqlite3`)."""

def register_adapter(type: type[_T], adapter: Callable[[_T], Any], /) -> None:
    """Register what a parameter of a class is stored as (as `sqlite3`).

    The class has to be exactly the value's: subclasses register themselves. What the adapter
    returns is bound as it is, and not adapted again. A value is adapted by the first of these that
    there is: `Connection.register_adapter`, this function, `sqlite3.register_adapter`, and the
    value's own ``__conform__(PrepareProtocol)``, which may return None to be bound as it is.

    `datetime.date` and `datetime.datetime` have adapters to begin with, which store the text that
    sqlite3's do and, unlike those since Python 3.12, give no DeprecationWarning. An adapter of a
    class that SQLite has a type for, such as int, is taken notice of only if it was registered
    here or with the connection.

    Args:
        type: The class.
        adapter: Called with the value when the method that takes the parameters is called; by
            ``executemany`` while it reads the rows. Returns None, an int, float, str, bytes or
            another buffer.

    Raises:
        TypeError: If ``type`` is no class, or ``adapter`` is not callable.

    Example:
        ```python
        aiolibsql.register_adapter(decimal.Decimal, str)
        await conn.execute("INSERT INTO price VALUES (?)", (decimal.Decimal("9.99"),))
        ```
    """

PARSE_DECLTYPES: Final = 1
"""For `connect`'s ``detect_types``: converters by the declared types of columns (as `sqlite3`)."""

PARSE_COLNAMES: Final = 2
"""For `connect`'s ``detect_types``: converters by the names of columns (as `sqlite3`)."""

converters: Final[dict[str, Callable[[bytes], Any]]]
"""What `register_converter` has registered, by name in upper case (as `sqlite3`)."""

def register_converter(typename: str, converter: Callable[[bytes], Any], /) -> None:
    """Register what the values of a type become when rows are fetched (as `sqlite3`).

    It is used by connections whose ``detect_types`` asks for it. A value is converted by the first
    of these that there is: `Connection.register_converter`, this function and
    `sqlite3.register_converter`. Which converter a column has is decided when the statement is
    executed.

    There are two to begin with, which work like sqlite3's and, unlike those since Python 3.12, give
    no DeprecationWarning: ``date`` gives a `datetime.date`, ``timestamp`` a naive
    `datetime.datetime`. As sqlite3's, the latter drops an offset from UTC behind six digits of
    microseconds, and raises ValueError for one elsewhere.

    Args:
        typename: The name, in upper or lower case.
        converter: Called with the value's bytes, for a number those of its text; the text factory
            has no say. NULL and values without any bytes become None without a call.

    Raises:
        TypeError: If ``typename`` is no str, or ``converter`` is not callable.

    Example:
        ```python
        aiolibsql.register_converter("decimal", lambda text: decimal.Decimal(text.decode()))
        conn = await aiolibsql.connect("shop.db", detect_types=aiolibsql.PARSE_DECLTYPES)
        ```
    """

@overload
def adapt(obj: Any, proto: Any = ..., /) -> Any:
    """Return what an object is stored as (as `sqlite3`).

    Asks the module's adapters, sqlite3's, the protocol's ``__adapt__`` and the object's
    ``__conform__``; not those of a connection.

    Args:
        obj: The object.
        proto: The protocol; `PrepareProtocol` if it is not given.
        alt: What is returned when nobody adapts the object.

    Returns:
        The adapted object, or ``alt``.

    Raises:
        ProgrammingError: If nobody adapts the object and there is no ``alt``.
        Exception: Whatever the adapter raises, but for a TypeError of ``__adapt__`` or
            ``__conform__``: then they do not count.
    """

@overload
def adapt(obj: Any, proto: Any, alt: _T, /) -> Any | _T: ...
def _error_for_code(code: int, message: str) -> Exception:
    """Return the exception that an SQLite result code becomes; for the tests of that table."""

def _fetch_plain(
    connection: Connection[Any] | _Pool, sql: str, parameters: Parameters | None = None
) -> Operation[list[tuple[Any, ...]]]:
    """Return all rows of a statement as tuples with str, whatever the factories are.

    Cancellation:
        As for `Connection.fetch_all`.
    """

@disjoint_base
class Connection(Generic[_RowT_co]):
    """One database, for any number of tasks under any event loop.

    `aiolibsql.connect` makes it and describes the arguments. It is opened by awaiting it or by
    ``async with``, and belongs to no event loop: the same object may be used from asyncio, then
    from trio, or from several loops in several threads. Its operations run one at a time on a
    worker thread, in the order in which they were started. Methods that wait return an
    `Operation`.

    Type checkers know it as ``Connection[R]``, where ``R`` is what `connect`'s ``row_factory``
    makes of a row; ``Connection`` alone has tuples. A subclass may be given to `connect` as
    ``factory``.

    Leaving ``async with`` normally commits an open transaction, leaving it by an exception, a
    cancellation too, rolls it back; then the connection is closed, whatever came of that. An error
    of the COMMIT is raised, one of the ROLLBACK never hides the block's exception. A connection
    that is dropped while it is open gives a `ResourceWarning` and is closed. So does one that is
    open when the interpreter exits: what runs is interrupted, what is uncommitted rolled back, and
    operations of daemon threads raise `ConnectionClosedError`.

    After a fork it belongs to the parent: in the child it raises `OperationalError` at once, as do
    its cursors and operations, and so does opening any file that was open at the fork. Close it
    before the fork, or use the spawn start method. A connection that was not opened yet may be
    opened in each child.

    A file in WAL mode is written back by checkpoints after a COMMIT, not within it: of 250 pages
    when no operation has come for 5 ms, of 1000 before the next one. At 4000 pages the log is
    emptied. If a cursor with unread rows or an open transaction of this process keeps it from that,
    the logger ``aiolibsql.file`` gets a warning with its SQL and age. ``PRAGMA wal_autocheckpoint =
    N``, also by `connect`'s ``pragmas``, brings back SQLite's checkpoints within the COMMIT, and 0
    ends all of them. What a log has above 64 MiB is cut off by ``PRAGMA journal_size_limit``.

    Raises:
        TypeError: For an argument of a wrong type, or an unknown keyword.
        ValueError: For a null character in the path, an unknown isolation level or setting of
            autocommit, a NaN, a pragma whose name is not one, or an encryption key that is empty
            or longer than 32 bytes.
        ProgrammingError: For an encryption key with a database in memory.
        NotSupportedError: For the URL of a remote database.

    Cancellation:
        An open that is cancelled is undone, and may be repeated. At the end of an ``async with`` a
        COMMIT that holds its locks is kept, one that has not come so far gives way to a ROLLBACK;
        the connection is closed in any case.

    Example:
        ```python
        async with aiolibsql.connect("planets.db") as conn:
            await conn.execute("INSERT INTO planet VALUES (?)", ("Ceres",))
        ```
    """

    DataError: ClassVar[type[exceptions.DataError]]
    """`aiolibsql.DataError` (PEP 249)."""

    DatabaseError: ClassVar[type[exceptions.DatabaseError]]
    """`aiolibsql.DatabaseError` (PEP 249)."""

    Error: ClassVar[type[exceptions.Error]]
    """`aiolibsql.Error` (PEP 249)."""

    IntegrityError: ClassVar[type[exceptions.IntegrityError]]
    """`aiolibsql.IntegrityError` (PEP 249)."""

    InterfaceError: ClassVar[type[exceptions.InterfaceError]]
    """`aiolibsql.InterfaceError` (PEP 249)."""

    InternalError: ClassVar[type[exceptions.InternalError]]
    """`aiolibsql.InternalError` (PEP 249)."""

    NotSupportedError: ClassVar[type[exceptions.NotSupportedError]]
    """`aiolibsql.NotSupportedError` (PEP 249)."""

    OperationalError: ClassVar[type[exceptions.OperationalError]]
    """`aiolibsql.OperationalError` (PEP 249)."""

    ProgrammingError: ClassVar[type[exceptions.ProgrammingError]]
    """`aiolibsql.ProgrammingError` (PEP 249)."""

    Warning: ClassVar[type[exceptions.Warning]]
    """`aiolibsql.Warning` (PEP 249)."""

    def __new__(
        cls,
        database: object,
        timeout: float = 5.0,
        isolation_level: IsolationLevel = ...,
        *,
        autocommit: AutocommitSetting = ...,
        cached_statements: int = 128,
        uri: bool = False,
        encryption_key: str | bytes | None = None,
        foreign_keys: bool = False,
        row_factory: RowFactory[_RowT_co] = None,
        text_factory: TextFactory | None = None,
        iter_chunk_size: int = 64,
        pragmas: dict[str, Any] | None = None,
        init_hook: InitHook | None = None,
        detect_types: int = 0,
        trusted_schema: bool | None = None,
        defensive: bool | None = None,
        auth_token: AuthToken | None = None,
        tls: bool | None = None,
        namespace: str | None = None,
        request_timeout: float | None = None,
        connect_timeout: float | None = None,
        sync_url: str | None = None,
        sync_interval: float | None = None,
        read_your_writes: bool | None = None,
        offline: bool = False,
        inline_budget: int = 0,
    ) -> Self: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __await__(self) -> Generator[Any, None, Self]: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> None: ...
    @overload
    def cursor(self, factory: None = None) -> Cursor[_RowT_co]:
        """Return a new cursor (as `sqlite3`).

        It may be used at once. As in aiosqlite it may be awaited, which gives the cursor itself,
        and entered with ``async with``, which closes it.

        Args:
            factory: Called with the connection, in place of `Cursor`.

        Returns:
            The cursor. It takes over the connection's `row_factory` and `iter_chunk_size`.

        Raises:
            TypeError: If ``factory`` returns something else than a cursor.
            ConnectionClosedError: If the connection is closed.
        """

    @overload
    def cursor(self, factory: Callable[[Connection[_RowT_co]], _CursorT]) -> _CursorT: ...
    def execute(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[Cursor[_RowT_co]]:
        """Execute one statement on a new cursor.

        Where `isolation_level` asks for it, a transaction is begun before an INSERT, UPDATE, DELETE
        or REPLACE (as `sqlite3`). A write with RETURNING has run to its end when the await returns;
        other statements are read as their rows are fetched.

        Args:
            sql: One statement. Empty text and comments are fine and do nothing.
            parameters: A sequence for ``?`` and ``?NNN``, or a mapping for ``:a``, ``@a`` and
                ``$a``. Values are None, int (bool too), float, str, bytes, another buffer, which
                is stored as a BLOB, or what `aiolibsql.register_adapter` makes one of these. They
                are read when the method is called.
            timeout: Seconds that the operation may wait and run, from its await on; None for no
                limit but the connection's own for locks.

        Returns:
            The cursor; under ``async with`` it is closed at the end of the block.

        Raises:
            ProgrammingError: If there are two statements, parameters are missing or too many, or
                one is of a class that SQLite has no type for and nobody adapts.
            OverflowError: If an int does not fit in 64 bits.
            UnicodeEncodeError: If a text has surrogates.
            IntegrityError: If a constraint fails.
            TimeoutError: If a lock does not become free within the connection's ``timeout``, or
                the operation does not end within its own.
            OperationalError: If SQLite can't do it; also, once, if SQLite has rolled back the
                transaction since the last operation, which then does not run outside of it.
            ConnectionClosedError: If the connection is closed, or not open yet.
            Exception: Whatever an adapter raises.

        Cancellation:
            Queued, it never runs. A running read is stopped and leaves an open transaction open. Of
            a running write outside a transaction all is kept or nothing; inside one, SQLite rolls
            the whole transaction back, and the next `execute` or `commit` says so. A write that was
            done stands; a transaction that it began is rolled back unless it was used since.

        Example:
            ```python
            cursor = await conn.execute("SELECT mass FROM planet WHERE name = ?", ("Ceres",))
            row = await cursor.fetchone()
            ```
        """

    def executemany(
        self,
        sql: str,
        parameters: Iterable[Parameters] | AsyncIterable[Parameters],
        *,
        timeout: float | None = None,
    ) -> Operation[Cursor[_RowT_co]]:
        """Execute one INSERT, UPDATE, DELETE or REPLACE for each row of parameters.

        All of it is done, or nothing: inside a transaction under a savepoint, else in a transaction
        of its own, which stays open where `isolation_level` asks for one. (Without one, `sqlite3`
        keeps the rows before an error.) Rows that RETURNING gives are dropped.

        Args:
            sql: The statement.
            parameters: An iterable or async iterable of sequences or mappings, as for `execute`.
                The awaiting task reads it while the statement runs, so that one of any length
                needs little memory.
            timeout: Seconds, as for `execute`.

        Returns:
            The cursor; its `Cursor.rowcount` is the sum.

        Raises:
            ProgrammingError: If the statement is of another kind, or an async iterable awaits the
                same connection; also as for `execute`.
            OverflowError: If an int does not fit in 64 bits.
            IntegrityError: If a constraint fails.
            TimeoutError: As for `execute`.
            OperationalError: As for `execute`.
            ConnectionClosedError: If the connection is closed, or not open yet.
            Exception: Whatever the iterable or an adapter raises.

        Cancellation:
            As for `execute`; nothing is kept of what was not done as a whole.
        """

    def executescript(
        self, sql_script: str, *, timeout: float | None = None
    ) -> Operation[Cursor[_RowT_co]]:
        """Execute any number of statements (as `sqlite3`).

        Under legacy transaction control an open transaction is committed first, and the statements
        run outside of one unless the script begins it. Their rows are dropped.

        Args:
            sql_script: The statements.
            timeout: Seconds, as for `execute`.

        Returns:
            A cursor without rows.

        Raises:
            ProgrammingError: If the script has a null character.
            IntegrityError: If a constraint fails. What the statements before did stays.
            TimeoutError: As for `execute`.
            OperationalError: As for `execute`.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs. Running, it ends with the current statement, as for `execute`;
            what the statements before did stays.
        """

    def execute_insert(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[tuple[int]]:
        """Execute an INSERT and return the rowid of its row (as aiosqlite).

        Args:
            sql: One statement.
            parameters: As for `execute`.
            timeout: Seconds, as for `execute`.

        Returns:
            A tuple with the rowid that the connection inserted last, 0 before the first. It is a
            tuple under every row factory.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `execute`.
        """

    def execute_fetchall(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[list[_RowT_co]]:
        """Execute one statement and return all its rows (as aiosqlite); the same as `fetch_all`.

        Args:
            sql: One statement.
            parameters: As for `execute`.
            timeout: Seconds, as for `execute`.

        Returns:
            The rows.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `execute`.
        """

    def fetch_all(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[list[_RowT_co]]:
        """Execute one statement and return all its rows.

        A large result becomes Python objects in slices of about 0.2 ms, between which the event
        loop has its turn.

        Args:
            sql: One statement.
            parameters: As for `execute`.
            timeout: Seconds, as for `execute`.

        Returns:
            The rows; none for a statement that gives none.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `execute`.
        """

    def fetch_one(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[_RowT_co]:
        """Execute one statement and return its first row, which there has to be.

        Args:
            sql: One statement. It ends with the first row, except that a write runs to its end.
            parameters: As for `execute`.
            timeout: Seconds, as for `execute`.

        Returns:
            The row.

        Raises:
            DatabaseError: If there is no row.
            Error: As for `execute`.

        Cancellation:
            As for `execute`.
        """

    def fetch_optional(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[_RowT_co | None]:
        """Execute one statement and return its first row, or None.

        Args:
            sql: One statement. It ends with the first row, except that a write runs to its end.
            parameters: As for `execute`.
            timeout: Seconds, as for `execute`.

        Returns:
            The row, or None if there is none.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `execute`.
        """

    def fetch_scalar(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[Any]:
        """Execute one statement and return the first value of its first row, or None.

        Args:
            sql: One statement. It ends with the first row, except that a write runs to its end.
            parameters: As for `execute`.
            timeout: Seconds, as for `execute`.

        Returns:
            The value, whatever the row factory, or None if there is no row.

        Raises:
            Error: As for `execute`.

        Cancellation:
            As for `execute`.

        Example:
            ```python
            count = await conn.fetch_scalar("SELECT count(*) FROM planet")
            ```
        """

    def fetch_blob(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[bytes | None]:
        """Execute one statement and return the BLOB in its first row's first column, as rapsqlite.

        Args:
            sql: One statement. It ends with the first row, except that a write runs to its end.
            parameters: As for `execute`.
            timeout: Seconds, as for `execute`.

        Returns:
            The bytes, whatever the row factory; None if the value is NULL or there is no row.

        Raises:
            TypeError: If the value is not a BLOB.
            Error: As for `execute`.

        Cancellation:
            As for `execute`.
        """

    def set_pragma(self, name: str, value: Any) -> Operation[None]:
        """Run ``PRAGMA name=value`` (as rapsqlite); rows that it gives are dropped.

        SQLite takes no notice of a pragma that it does not know, nor of one that can't be set where
        it is, such as ``foreign_keys`` in a transaction: read it back to be sure.

        Args:
            name: The pragma, perhaps with its schema: ``"cache_size"``, ``"main.synchronous"``.
            value: A bool or an int; anything else stands for its ``str()``.

        Raises:
            ValueError: If the name is not the name of a pragma.
            Error: As for `execute`.

        Cancellation:
            As for `execute`.
        """

    def _batch(self, operations: Iterable[BatchOperation]) -> Operation[list[Cursor[_RowT_co]]]: ...
    def batch(self, operations: Iterable[BatchOperation]) -> Operation[Cursor[_RowT_co]]:
        """Execute several statements: all of them, or none.

        They run in a `savepoint` block: where no transaction is open in one of their own, which is
        committed, else as a part of that.

        Args:
            operations: For each statement its SQL, or a tuple of the SQL and its parameters. All of
                it is read, at the await, before the first one runs.

        Returns:
            The last statement's cursor, from which its rows can be fetched: they are in memory, as
            all rows of a batch are read with it. Under ``async with`` it is closed at the end of
            the block.

        Raises:
            TypeError: If an operation is neither.
            Error: As for `execute`; nothing of the batch is kept.

        Cancellation:
            As for `savepoint`: nothing is kept of what was not done as a whole.

        Example:
            ```python
            await conn.batch(
                [
                    "CREATE TABLE moon (name TEXT, planet TEXT)",
                    ("INSERT INTO moon VALUES (?, ?)", ("Titan", "Saturn")),
                ]
            )
            ```
        """

    def execute_iter(
        self, sql: str, parameters: Parameters | None = None, chunk_size: int | None = None
    ) -> RowChunks[_RowT_co]:
        """Iterate over the rows of a statement in chunks (as rapsqlite).

        The statement runs once, on a cursor of its own, and all chunks are of one snapshot
        (rapsqlite runs it for each chunk, with LIMIT and OFFSET).

        Args:
            sql: One statement.
            parameters: As for `execute`, but read at the first step.
            chunk_size: Rows in a chunk; None for `iter_chunk_size`.

        Returns:
            An async iterator over lists of rows, which may be entered with ``async with``.

        Raises:
            ValueError: If ``chunk_size`` is less than 1.
            Error: From the iteration, as for `execute`.

        Cancellation:
            As for `Cursor.fetchmany`, at each step.

        Example:
            ```python
            async for planets in conn.execute_iter("SELECT name FROM planet", chunk_size=100):
                print(len(planets))
            ```
        """

    def prepare(
        self, query: str, *, raw: bool = False, blob: bool = False
    ) -> PreparedQuery[_RowT_co]:
        """Return a statement that is compiled once and kept (as rapsqlite).

        SQLite compiles it when it is first executed. From then on it stays compiled as long as the
        `PreparedQuery` lives, whatever ``cached_statements`` is. (A PRAGMA is compiled each time.)

        Args:
            query: One statement.
            raw: Accepted; there is one way to read a value.
            blob: `PreparedQuery.fetch_scalar` refuses what is not a BLOB, as `fetch_blob`.

        Returns:
            The statement, not compiled yet.

        Raises:
            ConnectionClosedError: If the connection is closed.

        Example:
            ```python
            mass = conn.prepare("SELECT mass FROM planet WHERE name = ?")
            masses = [await mass.fetch_scalar((name,)) for name in ("Ceres", "Vesta")]
            ```
        """

    async def explain_query_plan(
        self, sql: str, parameters: Parameters | None = None
    ) -> list[tuple[int, int, int, str]]:
        """Return how SQLite would run a statement (as rapsqlite).

        Args:
            sql: One statement; it is not executed.
            parameters: As for `execute`: what the statement has places for has to be given.

        Returns:
            The rows of ``EXPLAIN QUERY PLAN``: id, parent, a number without meaning, and a text.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def get_tables(self, name: str | None = None) -> list[str]:
        """Return the names of the tables of the main schema (as rapsqlite).

        Those of SQLite itself, which begin with ``sqlite_``, are left out.

        Args:
            name: Only the table of that name, in any case.

        Returns:
            The names, in order.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def get_views(self, name: str | None = None) -> list[str]:
        """Return the names of the views of the main schema (as rapsqlite).

        Args:
            name: Only the view of that name, in any case.

        Returns:
            The names, in order.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def get_table_info(self, table_name: str) -> list[dict[str, Any]]:
        """Return the columns of a table (as rapsqlite).

        Args:
            table_name: The table, or view.

        Returns:
            The rows of ``PRAGMA table_info`` as dicts, with the keys ``cid``, ``name``, ``type``,
            ``notnull``, ``dflt_value`` and ``pk``; none for an unknown table.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def get_table_xinfo(self, table_name: str) -> list[dict[str, Any]]:
        """Return the columns of a table, generated and hidden ones too (as rapsqlite).

        Args:
            table_name: The table, or view.

        Returns:
            As `get_table_info`, with the key ``hidden``.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def get_indexes(self, table_name: str | None = None) -> list[dict[str, Any]]:
        """Return the indexes that CREATE INDEX has made (as rapsqlite).

        Args:
            table_name: Only those of this table.

        Returns:
            Dicts with the keys ``name``, ``table``, ``unique`` and ``sql``, by name.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def get_index_list(self, table_name: str) -> list[dict[str, Any]]:
        """Return all indexes of a table, those of its constraints too (as rapsqlite).

        Args:
            table_name: The table.

        Returns:
            The rows of ``PRAGMA index_list`` as dicts, with the keys ``seq``, ``name``, ``unique``,
            ``origin`` and ``partial``.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def get_index_info(self, index_name: str) -> list[dict[str, Any]]:
        """Return the columns of an index (as rapsqlite).

        Args:
            index_name: The index.

        Returns:
            The rows of ``PRAGMA index_info`` as dicts, with the keys ``seqno``, ``cid`` and
            ``name``.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def get_foreign_keys(self, table_name: str) -> list[dict[str, Any]]:
        """Return the foreign keys of a table (as rapsqlite).

        Args:
            table_name: The table that refers to others.

        Returns:
            The rows of ``PRAGMA foreign_key_list`` as dicts, with the keys ``id``, ``seq``,
            ``table``, ``from``, ``to``, ``on_update``, ``on_delete`` and ``match``.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def get_schema(self, table_name: str | None = None) -> dict[str, Any]:
        """Return the tables, or all about one of them, in one snapshot (as rapsqlite).

        Args:
            table_name: The table, or None for a list of them.

        Returns:
            ``{"tables": [{"name": …}, …]}``; for one table ``table_name``, ``columns`` as
            `get_table_info`, ``indexes`` as `get_indexes` and ``foreign_keys`` as
            `get_foreign_keys`, or an empty dict if there is none of that name.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def changes(self) -> int:
        """Return how many rows the last write has changed (as rapsqlite).

        Returns:
            The rows of the last INSERT, UPDATE or DELETE, whoever executed it on this connection.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def last_insert_rowid(self) -> int:
        """Return the rowid that the connection has inserted last (as rapsqlite).

        Returns:
            The rowid; 0 before the first.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def total_changes_async(self) -> int:
        """Return `total_changes` once the operations before have ended (as rapsqlite).

        Returns:
            The rows inserted, updated or deleted since the connection was opened.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    async def in_transaction_async(self) -> bool:
        """Return `in_transaction` once the operations before have ended (as rapsqlite).

        Returns:
            Whether a transaction is open.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
            Error: As for `execute`.

        Cancellation:
            As for `fetch_all`.
        """

    def execute_many(
        self, query: str, parameters: Iterable[Parameters] | AsyncIterable[Parameters]
    ) -> Operation[Cursor[_RowT_co]]:
        """Execute one statement for each row of parameters; rapsqlite's name of `executemany`.

        Args:
            query: The statement.
            parameters: As for `executemany`.

        Returns:
            The cursor.

        Raises:
            Error: As for `executemany`.

        Cancellation:
            As for `executemany`.
        """

    def raw_fetch_scalar(
        self, query: str, parameters: Parameters | None = None, blob: bool = False
    ) -> Operation[Any]:
        """Do as `fetch_scalar`, or with ``blob=True`` as `fetch_blob` (as rapsqlite).

        Args:
            query: One statement.
            parameters: As for `execute`.
            blob: Refuse what is not a BLOB.

        Returns:
            The value, or None if there is no row.

        Raises:
            TypeError: If ``blob`` is True and the value is not a BLOB.
            Error: As for `execute`.

        Cancellation:
            As for `execute`.
        """

    def begin(
        self, mode: Literal["DEFERRED", "IMMEDIATE", "EXCLUSIVE"] = "DEFERRED"
    ) -> Operation[None]:
        """Begin a transaction.

        It belongs to the connection: operations of other tasks on it take part.

        Args:
            mode: ``"DEFERRED"`` takes locks when they are needed, ``"IMMEDIATE"`` the write lock at
                once, ``"EXCLUSIVE"`` keeps readers out too where there is no WAL. Case is ignored.

        Raises:
            ValueError: For another mode.
            TimeoutError: If the lock does not become free within the connection's ``timeout``.
            OperationalError: If a transaction is open; also, once, if SQLite has rolled back the
                one before.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs; a wait for a lock ends at once. A transaction that was begun is
            rolled back unless it was used since.
        """

    def transaction(
        self,
        mode: Literal["DEFERRED", "IMMEDIATE", "EXCLUSIVE", "READ"] = "IMMEDIATE",
        *,
        force_rollback: bool = False,
    ) -> Transaction[_RowT_co]:
        """Return a transaction block, for ``async with``.

        Leaving it normally commits, leaving it by an exception, a cancellation too, rolls back. A
        COMMIT that fails is rolled back, and its error raised.

        Inside of it, the statements of the task that entered take part, and of tasks that were
        started inside: they carry the block in their context variables. So do those of the
        `Transaction` that ``async with`` gives, in whatever task. Statements from tasks outside
        wait for the block's end, at most the connection's ``timeout``. Inside of another block it
        is a savepoint, whatever its mode, and its tasks own it likewise.

        A task that outlives the block is outside from then on, and its statements run by
        themselves; those through the `Transaction` raise instead, so prefer it in tasks that may
        be late, or start them in a task group inside of the block. Whoever consumes an async
        generator that yields inside of a block is in the block too.

        `commit`, `rollback`, `begin`, `executescript` and their SQL raise `ProgrammingError` inside
        of a block. When SQLite itself ends the transaction (an interrupted write, a full disk,
        ``OR ROLLBACK``), each further statement of the block raises `OperationalError`.

        Args:
            mode: As for `begin`; ``"READ"`` takes a snapshot at once and refuses to write. Case is
                ignored.
            force_rollback: Roll back at the end whatever happens, as tests like to.

        Returns:
            The block. It can be entered once.

        Raises:
            ValueError: For another mode.
        """

    def savepoint(self, name: str | None = None) -> Transaction[_RowT_co]:
        """Return a savepoint block, for ``async with``.

        Leaving it normally releases the savepoint, leaving it by an exception, a cancellation too,
        undoes what was done since it was entered. It is owned by its tasks as `transaction` is.
        Where no transaction is open it begins a deferred one, and leaving it commits; under
        `begin` or an implicit transaction it is part of that. RELEASE and ROLLBACK TO by SQL reach
        no savepoint that was set outside of the block.

        Args:
            name: The name of a savepoint that is set at the beginning, for a ``ROLLBACK TO`` of
                your own. Names that begin with ``aiolibsql_`` are taken.

        Returns:
            The block. It can be entered once.

        Raises:
            ValueError: If the name contains a null character.
        """

    def commit(self) -> Operation[None]:
        """Commit the open transaction (as `sqlite3`).

        Without one it does nothing, as it does under ``autocommit=True``. Under
        ``autocommit=False`` the next transaction begins.

        Raises:
            IntegrityError: If a deferred constraint fails. The transaction stays open.
            TimeoutError: If a lock does not become free within the connection's ``timeout``. The
                transaction stays open.
            OperationalError: If SQLite can't do it; also, once, if SQLite has rolled the
                transaction back.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs; a wait for a lock ends at once, and the transaction stays open.
            Once it holds its locks it runs to its end while the cancelled caller waits.
        """

    def rollback(self) -> Operation[None]:
        """Roll the open transaction back (as `sqlite3`).

        Without one it does nothing, as it does under ``autocommit=True``. Under
        ``autocommit=False`` the next transaction begins. It also settles a transaction that SQLite
        has rolled back by itself, so that nothing raises because of it.

        Raises:
            OperationalError: If SQLite can't do it.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            It is done even if the caller was cancelled before; the cancelled caller waits for it.
        """

    def register_adapter(self, type_: type[_T], adapter: Callable[[_T], Any] | None) -> None:
        """Register what a parameter of a class is stored as, for this connection (as rapsqlite).

        It comes before the adapters that `aiolibsql.register_adapter` registers for all
        connections, and works like those. Operations that were made before keep what they have
        converted.

        Args:
            type_: The class; exactly that of the value.
            adapter: Called with the value; None removes the connection's adapter.

        Raises:
            TypeError: If ``type_`` is no class, or ``adapter`` is neither callable nor None.
            ConnectionClosedError: If the connection is closed.
        """

    def register_converter(self, typename: str, converter: Callable[[bytes], Any] | None) -> None:
        """Register what values of a type become, for this connection (as rapsqlite).

        It comes before the converters that `aiolibsql.register_converter` registers for all
        connections. It applies to columns by their declared type, whatever `connect`'s
        ``detect_types`` says; by their name only with `PARSE_COLNAMES`. Rows of statements that
        were executed before stay as they are.

        Args:
            typename: The name, in upper or lower case.
            converter: Called with the value's bytes, as `aiolibsql.register_converter`'s; None
                removes the connection's converter.

        Raises:
            TypeError: If ``typename`` is no str, or ``converter`` is neither callable nor None.
            ConnectionClosedError: If the connection is closed.
        """

    def close(self) -> Operation[None]:
        """Close the connection, after the operations before it.

        Changes that were not committed are rolled back, with a `ResourceWarning`. Closing again
        does nothing.

        Where statements were run on a file and no transaction is open, ``PRAGMA optimize`` gathers
        the statistics that the query planner lacks: for 50 ms at most, and not if it would have to
        wait for a lock.

        Raises:
            DatabaseError: If SQLite reports an error; the connection is closed all the same.

        Cancellation:
            It is done even if the caller was cancelled before; the cancelled caller waits for it.
        """

    def stop(self) -> Operation[None]:
        """Close the connection without waiting for it (as aiosqlite).

        The close is queued when the method is called, which needs no event loop.

        Returns:
            An operation that ends when the connection is closed; it need not be awaited.

        Raises:
            DatabaseError: From the await, as for `close`.

        Cancellation:
            It goes on, and the cancelled caller waits for it.
        """

    def interrupt(self) -> Operation[None]:
        """Stop the running statement now (as `sqlite3`).

        Nothing is queued: the method acts when it is called. The interrupted operation raises
        `OperationalError` in its own task. COMMIT, ROLLBACK and a close are not interrupted.

        Returns:
            An operation that has ended; it may be awaited (as aiosqlite) and need not be.

        Cancellation:
            It has acted before.
        """

    def create_function(
        self, name: str, narg: int, func: Callable[..., Any] | None, deterministic: bool = False
    ) -> Operation[None]:
        """Make a Python callable an SQL function, as sqlite3; None removes it.

        A plain callable runs on the connection's worker thread, in a copy of the context
        (`contextvars`) of whoever awaits the statement. TEXT comes as str, BLOB as bytes.

        What an ``async def`` function, or any other callable, returns to be awaited is awaited by
        the operation that waits for the statement, inside of its own await: in the same task, with
        its context variables, time limits and cancel scopes. A cancellation reaches the function
        first; then the statement stops, and then the caller sees it. So does a ``timeout=`` of the
        statement, and `interrupt`. Where nobody waits for the statement, as after a cancelled
        COMMIT, to be awaited is an error.

        Neither can use the connection: awaiting it inside is a `ProgrammingError`, also in tasks
        that an ``async def`` function has started, until it returns. Other connections work.

        Args:
            name: The SQL name. Several functions may share it if their numbers of arguments differ.
            narg: The number of arguments; -1 for any.
            func: Returns None, int, float, str or a buffer. What it raises becomes the
                ``__cause__`` of the statement's `OperationalError` (`DataError` for an
                `OverflowError`, `MemoryError` for that).
            deterministic: The same arguments have the same answer: SQLite may leave calls out,
                and the function may be used in an index.

        Raises:
            TypeError: If ``func`` is not callable.
            OperationalError: If SQLite does not take the name or the number; `TimeoutError` while a
                cursor of this connection has unread rows.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def create_aggregate(
        self, name: str, n_arg: int, aggregate_class: Callable[[], Any] | None
    ) -> Operation[None]:
        """Make a class an SQL aggregate, as sqlite3; None removes it.

        Args:
            name: The SQL name.
            n_arg: The number of arguments; -1 for any.
            aggregate_class: Makes an object for each group, with ``step(*arguments)`` and
                ``finalize()``, which returns the answer. They run like functions of
                `create_function`, and may be ``async def`` as these.

        Raises:
            TypeError, OperationalError, ConnectionClosedError: As `create_function`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def create_window_function(
        self, name: str, num_params: int, aggregate_class: Callable[[], Any] | None
    ) -> Operation[None]:
        """Make a class an SQL window function and aggregate, as sqlite3; None removes it.

        Args:
            name: The SQL name.
            num_params: The number of arguments; -1 for any.
            aggregate_class: As `create_aggregate`'s, with ``inverse(*arguments)`` for a row that
                leaves the window and ``value()`` for the current answer.

        Raises:
            TypeError, OperationalError, ConnectionClosedError: As `create_function`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def create_collation(
        self, name: str, callback: Callable[[str, str], int | Awaitable[int]] | None
    ) -> Operation[None]:
        """Make a callable an order of texts, as sqlite3; None removes it.

        Args:
            name: The SQL name.
            callback: Returns a negative int, 0 or a positive one; may be ``async def``, as
                functions of `create_function`. SQLite can't be told of a failure: what it raises
                goes to `sys.unraisablehook`, and the texts count as equal. If one is stopped while
                it is awaited, its statement fails, and what the statement wrote is rolled back,
                with its transaction.

        Raises:
            TypeError, OperationalError, ConnectionClosedError: As `create_function`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def set_authorizer(
        self,
        authorizer_callback: Callable[
            [int, str | None, str | None, str | None, str | None], int | Awaitable[int]
        ]
        | None,
    ) -> Operation[None]:
        """Have a callable asked about everything that statements do, as sqlite3; None removes it.

        Args:
            authorizer_callback: Gets the action (``SQLITE_READ`` …), two details that depend on it,
                the database's name, and the innermost trigger or view. Returns ``SQLITE_OK``,
                ``SQLITE_DENY`` or ``SQLITE_IGNORE``. An exception denies, and becomes the
                ``__cause__`` of the statement's error. May be ``async def``, as functions of
                `create_function`; so may all that follow here.

        Raises:
            TypeError: If it is not callable.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def set_trace_callback(self, trace_callback: Callable[[str], object] | None) -> Operation[None]:
        """Have a callable told of each statement that starts, as sqlite3; None removes it.

        Args:
            trace_callback: Gets the SQL with its values in it, or without them if that would be too
                long. What it raises goes to `sys.unraisablehook`.

        Raises:
            TypeError, ConnectionClosedError: As `set_authorizer`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    @overload
    def set_progress_handler(self, handler: Callable[[], object] | None, n: int) -> Operation[None]:
        """Have a callable called while statements run, as sqlite3; None removes it.

        The two may come in either order, as sqlite3 or rapsqlite has them.

        Args:
            handler: Something true stops the statement with an `OperationalError`
                (``SQLITE_INTERRUPT``); so does an exception, as its ``__cause__``.
            n: About how many steps of SQLite's virtual machine lie between two calls; 0 for none.

        Raises:
            TypeError, ConnectionClosedError: As `set_authorizer`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    @overload
    def set_progress_handler(
        self, handler: int, n: Callable[[], object] | None
    ) -> Operation[None]: ...
    def set_busy_handler(self, handler: Callable[[int], object] | None) -> Operation[None]:
        """Have a callable decide about waits for locks instead of ``timeout``; None removes it.

        As SQLite's C interface. A cancellation ends the wait whatever it says.

        Args:
            handler: Gets the number of calls for this lock so far. Something true tries again, at
                once: it does its own waiting. An exception gives up, as the ``__cause__``.

        Raises:
            TypeError, ConnectionClosedError: As `set_authorizer`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def set_update_hook(
        self, callback: Callable[[int, str, str, int], object] | None
    ) -> Operation[None]:
        """Have a callable told of each row that a statement changes; None removes it.

        As SQLite's C interface: not of tables without rowids, nor of truncations.

        Args:
            callback: Gets ``SQLITE_INSERT`` (18), ``SQLITE_UPDATE`` (23) or ``SQLITE_DELETE`` (9),
                the database's name, the table's, and the rowid. What it raises goes to
                `sys.unraisablehook`.

        Raises:
            TypeError, ConnectionClosedError: As `set_authorizer`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def set_commit_hook(self, callback: Callable[[], object] | None) -> Operation[None]:
        """Have a callable asked before each COMMIT; None removes it. As SQLite's C interface.

        Args:
            callback: Something true, or an exception, rolls the transaction back instead: the
                COMMIT fails with an `IntegrityError`, with the exception as its ``__cause__``. One
                that is cancelled while it is awaited rolls back too.

        Raises:
            TypeError, ConnectionClosedError: As `set_authorizer`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def set_wal_hook(self, callback: Callable[[str, int], object] | None) -> Operation[None]:
        """Have a callable told of each COMMIT to a write-ahead log; None removes it.

        As SQLite's C interface, but checkpoints go on as they were: those that the connection makes
        by itself, and those of a ``PRAGMA wal_autocheckpoint``, which in C take each other's place.
        It runs after the COMMIT, while its statement is still at work.

        Args:
            callback: Called with the name of the database, such as ``"main"``, and the number of
                pages that are in its log now. What it raises goes to `sys.unraisablehook`; what it
                returns does not matter.

        Raises:
            TypeError, NotSupportedError, ConnectionClosedError: As `set_authorizer`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def set_rollback_hook(self, callback: Callable[[], object] | None) -> Operation[None]:
        """Have a callable told of each ROLLBACK but that of a close; None removes it.

        As SQLite's C interface.

        Args:
            callback: What it raises goes to `sys.unraisablehook`. Nobody waits for the ROLLBACK
                after a cancellation, nor for that of an ``async with`` connection that is left by
                an exception: there one that is ``async def`` is not awaited, which goes to
                `sys.unraisablehook`.

        Raises:
            TypeError, ConnectionClosedError: As `set_authorizer`.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def rekey(self, new_key: str | bytes | None) -> Operation[None]:
        """Encrypt the file with another key, encrypt a plain file, or decrypt it for good.

        Every page is written anew, in one transaction. A process that dies in it leaves a file with
        the old key, which the next open restores. In WAL mode the file is switched to a rollback
        journal for the time, and stays so if the process dies.

        No other connection may have the file open. Those of this process, and in WAL mode those of
        others, are noticed. Another process's connection to a file with a rollback journal is not:
        its next operation raises `DatabaseError`, for its key is wrong then.

        Args:
            new_key: As `connect`'s ``encryption_key``; None for plain text.

        Raises:
            TypeError: If the key is neither str nor bytes.
            ValueError: If it is empty or longer than 32 bytes.
            ProgrammingError: If the database is in memory, a transaction is open (with
                ``autocommit=False`` one always is), or a cursor has unread rows.
            TimeoutError: If another connection has the file open, or holds a lock for longer than
                the connection's ``timeout``.
            OperationalError: If SQLite can't do it, as when the disk is full; the old key stays.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs. Once it runs, a cancellation ends only its wait for a lock; the
            caller waits until all is done or nothing.

        Example:
            ```python
            async with aiolibsql.connect("secret.db", encryption_key=old) as conn:
                await conn.rekey(new)
            ```
        """

    def blobopen(
        self,
        table: str,
        column: str,
        rowid: int,
        /,
        *,
        readonly: bool = False,
        name: str = "main",
    ) -> Operation[Blob]:
        """Open a BLOB or text, to read and write it in place (as `sqlite3` since Python 3.11).

        One that is open for writing holds the write lock. Outside of a transaction what was written
        is committed when the last such blob of the connection is closed, and until then no COMMIT
        is possible.

        Args:
            table: The table.
            column: The column.
            rowid: The row.
            readonly: Open it for reading only.
            name: The database: ``"main"``, or the name of an attached one.

        Returns:
            The blob; under ``async with`` it is closed at the end of the block.

        Raises:
            ValueError: For a null character in a name.
            OverflowError: If the rowid does not fit in 64 bits.
            ProgrammingError: If it is opened for writing in a ``"READ"`` block.
            TimeoutError: If a lock does not become free within the connection's ``timeout``.
            OperationalError: If there is no such value, or it is neither BLOB nor text; also, once,
                if SQLite has rolled back the transaction since the last operation.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs; a wait for a lock ends at once. What was opened is closed.

        Example:
            ```python
            async with conn.blobopen("photo", "pixels", 1) as blob:
                header = await blob.read(16)
                await blob.set(slice(0, 4), b"RIFF")
            ```
        """

    def backup(
        self,
        target: Connection[Any] | sqlite3.Connection,
        *,
        pages: int = -1,
        progress: Callable[[int, int, int], object] | None = None,
        name: str = "main",
        sleep: float = 0.250,
    ) -> Coroutine[Any, Any, None]:
        """Copy a database over that of another connection (as `sqlite3`).

        This connection goes on being used. What it writes between two steps goes into the copy too;
        when another one writes to the file, the copy begins anew. Operations on the target wait
        until it ends. Until the last page is there the target's file keeps what it had.

        A connection of the stdlib's ``sqlite3`` gets its copy from memory, by a thread, once all
        pages have been read: let nobody use it meanwhile. Its own exceptions are raised as they
        are. `sqlite3.Connection.backup` itself takes none of our connections.

        Args:
            target: Another connection. Its main database must not be read or written just now, by
                unread rows or an open transaction.
            pages: To copy in one step, between which others may work; 0 or less for all.
            progress: Called after each step with SQLite's result code of it, the pages that remain
                and the pages in all; an awaitable that it returns is awaited. It may use this
                connection, not the target.
            name: Of the database to copy: ``"main"``, ``"temp"``, or the name of an attached one.
            sleep: Seconds between two attempts while somebody's lock is in the way.

        Returns:
            A coroutine, to be awaited once.

        Raises:
            TypeError: If the target is no connection, or ``progress`` not callable.
            ValueError: If the target works on the database itself, or for a negative ``sleep``.
            OperationalError: If there is no database of that name, the target is in use or is
                itself being copied, or the disk is full.
            TimeoutError: If a lock was in the way for longer than the ``timeout`` of this
                connection, its own uncommitted changes included.
            ProgrammingError: If one of them is in a transaction block; for this connection, if the
                block has written.
            NotSupportedError: Before Python 3.11, for an encrypted database and a target of the
                stdlib's: its plain text would have to be written to a temporary file.
            ConnectionClosedError: If one of them is closed, or not open yet.

        Cancellation:
            Queued, it never runs. The target stays as it was, unless its last page had come; so it
            does after an exception of ``progress``. Both can be used at once.

        Example:
            ```python
            async with aiolibsql.connect("copy.db") as copy:
                await conn.backup(copy, pages=1000)
            ```
        """

    def iterdump(self, *, filter: str | None = None) -> Dump:
        """Dump the database as SQL text, for ``async for`` or awaited as a list.

        The text is that of `sqlite3` in Python 3.13, on every version: older ones lack the filter,
        the PRAGMA about foreign keys that are violated and the order of ``sqlite_sequence``. It is
        read as it is iterated; do it in a ``transaction("READ")`` block where others write
        meanwhile.

        Args:
            filter: A LIKE pattern for the names of tables, indexes, triggers and views; None and
                empty text stand for all of them.

        Returns:
            What gives the statements: each a str that ends with a semicolon.

        Raises:
            TypeError: If the filter is neither str nor None.
            OperationalError: From the iteration, as `execute` and `Cursor.fetchone`.
            ConnectionClosedError: From the iteration, if the connection is closed, or not open yet.

        Cancellation:
            The statement that reads is stopped, as for `Cursor.fetchone`.

        Example:
            ```python
            async for statement in conn.iterdump():
                print(statement)
            ```
        """

    def getlimit(self, category: int, /) -> Operation[int]:
        """Return a limit of the connection (as `sqlite3`).

        Args:
            category: One of the ``SQLITE_LIMIT_`` constants.

        Returns:
            The limit.

        Raises:
            ProgrammingError: If there is no such category.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs.
        """

    def setlimit(self, category: int, limit: int, /) -> Operation[int]:
        """Set a limit of the connection (as `sqlite3`).

        Args:
            category: One of the ``SQLITE_LIMIT_`` constants.
            limit: The new limit. One above what SQLite was compiled with is cut to that; a negative
                one changes nothing.

        Returns:
            The limit before.

        Raises:
            ProgrammingError: If there is no such category.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs.
        """

    def getconfig(self, op: int, /) -> Operation[bool]:
        """Tell whether a switch of the connection is on (as `sqlite3` since Python 3.12).

        Args:
            op: One of the ``SQLITE_DBCONFIG_`` constants.

        Returns:
            Whether it is on.

        Raises:
            ValueError: If there is no such switch.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs.
        """

    def setconfig(self, op: int, enable: object = ..., /) -> Operation[None]:
        """Turn a switch of the connection on or off (as `sqlite3` since Python 3.12).

        Args:
            op: One of the ``SQLITE_DBCONFIG_`` constants.
            enable: Whether to turn it on, which is the default.

        Raises:
            ValueError: If there is no such switch.
            OperationalError: If SQLite leaves it as it was.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs.
        """

    def enable_load_extension(self, enabled: object) -> Operation[None]:
        """Allow or forbid `load_extension`; at first it is forbidden.

        Unlike `sqlite3` it never allows the SQL function ``load_extension()``, so that no SQL text
        can load a library.

        Args:
            enabled: Whether to allow it.

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs.
        """

    def load_extension(self, path: str, *, entrypoint: str | None = None) -> Operation[None]:
        """Load a shared library that extends SQLite (as `sqlite3`).

        It is native code, which may do whatever this process may. It has to call SQLite through
        the table that its entry point is given, as extensions do.

        Args:
            path: The library's path; SQLite tries it with the system's ending too.
            entrypoint: The function to call; None for the names that SQLite makes of the path.

        Raises:
            ValueError: For a null character.
            OperationalError: If `enable_load_extension` has not allowed it, the library or its
                entry point is not there, or that has failed.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs. Once it runs, it goes on to its end, for which the cancelled
            caller does not wait.
        """

    def sync(self) -> Operation[SyncResult]:
        """Bring a replica up to date with its server.

        Syncs of one file take turns, whichever connection of the process asks for them. Reads go on
        meanwhile, but for those that were submitted to this connection later. As a statement, it
        waits for the end of another task's transaction block. A replica that is written offline
        also sends what it has and the server lacks, and waits at most its ``timeout`` for the end
        of other connections' write transactions.

        Returns:
            How many frames (versions of pages) were received, and the replication index, which is
            the number of the last change that the file has; beside them `SyncResult.pushed`, how
            many were sent.

        Raises:
            AuthError: If the server refuses the token.
            ConnectError: If the server can't be reached.
            TimeoutError: If the server is silent for longer than the ``request_timeout``.
            SyncError: If the server can't sync, or the file can't take it; of a replica that is
                written offline also if both have changed since the last sync. Nothing is lost then,
                and the message says what to do.
            ProgrammingError: If the replica is written offline and this connection has a
                transaction open.
            NotSupportedError: If the connection is not to a replica.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs. A sync that has begun goes on by itself, for the next one to find
            its frames applied; the caller is free at once.
        """

    def sync_until(self, replication_index: int, /) -> Operation[SyncResult]:
        """Bring a replica up to date, and at least as far as a change.

        Args:
            replication_index: The number of the change, of another replica's `sync`.

        Returns:
            As `sync`.

        Raises:
            SyncError: If the server does not have that change within the ``request_timeout``.
            OperationalError: As `sync`.
            NotSupportedError: If the connection is not to a replica, or to one that is written
                offline.

        Cancellation:
            As for `Connection.sync`.
        """

    def sync_stats(self) -> Operation[SyncStats]:
        """Tell how a replica stands; nothing is asked of the server.

        Returns:
            What all connections of this process together have synced of the file.

        Raises:
            NotSupportedError: If the connection is not to a replica.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs.
        """

    def wal_checkpoint(
        self,
        mode: Literal["PASSIVE", "FULL", "RESTART", "TRUNCATE"] = "PASSIVE",
        *,
        name: str = "main",
    ) -> Operation[tuple[int, int, int]]:
        """Write the write-ahead log back into the database, as ``PRAGMA wal_checkpoint``.

        Args:
            mode: ``"PASSIVE"`` does what readers allow and waits for nobody. The others wait for
                writers and readers, at most the connection's ``timeout``: ``"FULL"`` writes all of
                the log back, ``"RESTART"`` lets the next writer begin it anew, ``"TRUNCATE"``
                empties its file. Case is ignored.
            name: The database: ``"main"``, or the name of an attached one.

        Returns:
            As the pragma: 1 if others kept it from its end and 0 if not; the pages in the log; how
            many of them are in the database. The last two are -1 where there is no log.

        Raises:
            ValueError: For another mode, or a null character in the name.
            OperationalError: If this connection has a transaction or unread rows of that database
                (SQLite calls it locked, so it is a `TimeoutError`), there is no such database, it
                was interrupted, or SQLite can't do it.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs. A wait for others ends at once. The copying stops at the next
            page; what it has copied stands, which changes nothing in the database.
        """

    def serialize(self, *, name: str = "main") -> Operation[bytes]:
        """Return a database as bytes (as `sqlite3` since Python 3.11, on every version).

        They are what the file would hold, of an encrypted one in plain text. Inside a transaction
        they have its changes. Of a database that nothing was ever written to there may be none.

        Args:
            name: The database: ``"main"``, or the name of an attached one.

        Returns:
            The bytes, as `deserialize` takes them; written to a file they are a database.

        Raises:
            ValueError: For a null character in the name.
            MemoryError: If there is no memory for it.
            TimeoutError: If a lock does not become free within the connection's ``timeout``.
            OperationalError: If there is no such database, or SQLite can't read it.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs; a wait for a lock ends at once. SQLite can't stop the copying,
            which the cancelled caller does not wait for.
        """

    def deserialize(self, data: Buffer | str, /, *, name: str = "main") -> Operation[None]:
        """Put a database in memory in the place of another one (as `sqlite3` since Python 3.11).

        The connection is disconnected from the database that was there, whose file stays as it is;
        a private database in memory is gone. The new one is in plain text, has no file and takes
        at most 1 GiB, or its own length if that is more. The bytes of a database in WAL mode are
        taken as those of one with a rollback journal, for there can't be a log in memory; `sqlite3`
        opens such bytes and then fails to read them.

        Args:
            data: The bytes of a database, which are copied when the method is called; a str stands
                for its UTF-8. No bytes at all are an empty database.
            name: The database to replace: ``"main"``, or the name of an attached one.

        Raises:
            TypeError: If the data is neither a buffer nor a str.
            ValueError: For a null character in the name.
            MemoryError: If there is no memory for the copy.
            ProgrammingError: If a transaction is open, or a cursor has unread rows (`sqlite3`
                lets it happen).
            OperationalError: If there is no such database, or it is ``"temp"``.
            ConnectionClosedError: If the connection is closed, or not open yet.
            DatabaseError: From the first statement, if the bytes are no database. The connection
                has to be closed then: SQLite does not put another one in their place.

        Cancellation:
            Queued, it never runs. Once it runs it is done at once.
        """

    def query_usage(self) -> dict[str, int]:
        """Return how often each SQL text was executed (as rapsqlite).

        Counted while `query_usage_tracking` is True, by every execution through the connection, its
        cursors and its blocks; `executemany` counts once, `executescript` not at all. Of more than
        1000 different texts the later ones are dropped.

        Returns:
            The counts by SQL text.
        """

    def query_usage_dropped(self) -> int:
        """Return how many executions were not counted because there were too many texts.

        Returns:
            Their number (as rapsqlite).
        """

    def clear_query_usage(self) -> None:
        """Begin to count anew (as rapsqlite)."""

    @property
    def _label(self) -> str: ...
    def on_query(self, callback: _QueryHookT) -> _QueryHookT:
        """Have something called after each statement.

        It is called with the SQL, the seconds that the statement took, the number of rows, and its
        error or None, in the task that awaits, before the await returns or raises. A cursor that
        is not read to its end is told of when it is, is closed, or dropped. There may be several,
        which are called in the order in which they were given; `off_query` takes one out.

        What it executes itself is told to none. What it raises goes to `sys.unraisablehook`. It
        runs on the event loop's thread, so it should be quick.

        The seconds are those of the database: of the execution and of all fetches, waits for locks
        included, and at a server those of the requests. Those of `executemany` and `executescript`
        run from the hand-over to the end, that of a cancelled statement to the cancellation, and of
        a `batch` at a server each statement has the time of all. The rows are those that were read
        from the database, also if nobody has fetched them, or else those that the statement has
        changed; 0 for a script, which is told of as one.

        The error is what the await raises, a cancellation too; `GeneratorExit` where the await was
        dropped. Of a `batch` that fails, only the statement is told of that did, for nothing is
        left of the others; the first one, if it was none of them. What never reaches the database
        is not told of, nor are `commit`, `rollback` and the beginnings and ends of blocks.

        The connection's cursors and blocks have the same callbacks.

        Args:
            callback: A callable, not ``async``.

        Returns:
            The callback: it may be used as a decorator.

        Raises:
            TypeError: For what can't be called, or is ``async``: nobody would await it.

        Example:
            ```python
            @conn.on_query
            def tell(sql: str, seconds: float, rows: int, error: BaseException | None) -> None:
                print(f"{seconds:.3f} s, {rows} rows, {error!r}: {sql}")
            ```
        """

    def off_query(self, callback: Callable[..., object]) -> None:
        """Take out what was given to `on_query`; if several are equal, the last one.

        Args:
            callback: What compares equal to it.

        Raises:
            ValueError: If there is none.
        """

    def set_slow_query_threshold(
        self, threshold_secs: float, callback: Callable[[float, str], object] | None = None
    ) -> None:
        """Tell of statements that take long (as rapsqlite).

        What is timed and when it is told is that of `on_query` (rapsqlite: `fetch_all` alone).

        Args:
            threshold_secs: From how many seconds on a statement is slow; 0 for none.
            callback: Called with the seconds and the SQL, in the task that awaits, when the
                statement has ended. What it raises goes to `sys.unraisablehook`. None for a warning
                of the logger ``aiolibsql.query``.

        Raises:
            ValueError: If the threshold is negative or a NaN.
            TypeError: For an async callback, which nobody would await.
        """

    def set_autocommit(self, value: AutocommitSetting) -> Operation[None]:
        """Assign to `autocommit`, and run what the assignment asks for now.

        Args:
            value: As for `autocommit`.

        Raises:
            ValueError: For another value, when the method is called.
            ProgrammingError: Inside of a transaction block.
            TimeoutError: If a lock that COMMIT needs does not become free within the connection's
                ``timeout``.
            OperationalError: If SQLite can't do it.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Once it is queued the assignment stays, and is applied in its turn.
        """

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, as the last finished operation left it (as `sqlite3`).

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
        """

    @property
    def total_changes(self) -> int:
        """Rows inserted, updated or deleted since the connection was opened (as `sqlite3`).

        Raises:
            ConnectionClosedError: If the connection is closed, or not open yet.
        """

    @property
    def closed(self) -> bool:
        """Whether the connection was closed; False before it is opened."""

    @property
    def isolation_level(self) -> IsolationLevel:
        """The BEGIN that legacy transaction control runs before a write (as `sqlite3`).

        ``""`` (a plain BEGIN), ``"DEFERRED"``, ``"IMMEDIATE"`` or ``"EXCLUSIVE"``; None leaves
        transactions to the caller. Case is ignored. It counts only while `autocommit` is
        `LEGACY_TRANSACTION_CONTROL`.

        An assignment applies before the next operation. Assigning None commits an open transaction
        then, and an error of that COMMIT is that operation's.

        Raises:
            TypeError: On assigning something else than a str or None.
            ValueError: On assigning another level.
        """

    @isolation_level.setter
    def isolation_level(self, level: IsolationLevel) -> None: ...
    @property
    def autocommit(self) -> AutocommitSetting:
        """Who begins and ends transactions (as `sqlite3` since Python 3.12, on every version).

        True: SQLite, around each statement. False: PEP 249, a transaction is always open.
        `LEGACY_TRANSACTION_CONTROL`: `isolation_level` decides. 1 and 0 stand for True and False.

        An assignment applies before the next operation: True commits an open transaction then,
        False begins one, and an error of that is that operation's. `set_autocommit` does it now.

        Raises:
            ValueError: On assigning another value.
        """

    @autocommit.setter
    def autocommit(self, value: AutocommitSetting) -> None: ...
    @property
    def query_usage_tracking(self) -> bool:
        """Whether executions are counted for `query_usage` (as rapsqlite); False at first."""

    @query_usage_tracking.setter
    def query_usage_tracking(self, value: bool) -> None: ...
    @property
    def include_query_in_errors(self) -> bool:
        """Whether the message of an error ends with the query (as rapsqlite); False at first.

        That is of errors of an execution; `Error.sql` has the query in any case. Parameters are
        never named.
        """

    @include_query_in_errors.setter
    def include_query_in_errors(self, value: bool) -> None: ...
    @property
    def row_factory(self) -> RowFactory[Any]:
        """What new cursors make of a row (as `sqlite3`).

        None for a tuple, `Row` (`sqlite3.Row` stands for it), or a callable of the cursor and the
        tuple. Type checkers do not see an assignment; they take ``row_factory`` of `connect`.

        Raises:
            TypeError: On assigning something else.
        """

    @row_factory.setter
    def row_factory(self, factory: RowFactory[Any]) -> None: ...
    @property
    def text_factory(self) -> TextFactory:
        """What a TEXT becomes (as `sqlite3`): `str`, `bytes`, `bytearray`, or a callable of bytes.

        With `str`, text that is not UTF-8 raises `OperationalError` when it is fetched. An
        assignment applies to the next fetch of every cursor.

        Raises:
            TypeError: On assigning something else.
        """

    @text_factory.setter
    def text_factory(self, factory: TextFactory) -> None: ...
    @property
    def iter_chunk_size(self) -> int:
        """Rows that a new cursor's iteration fetches first (as aiosqlite).

        Raises:
            OverflowError: On assigning a negative number.
        """

    @iter_chunk_size.setter
    def iter_chunk_size(self, size: int) -> None: ...

@final
class Transaction(Connection[_RowT_co]):
    """A transaction or savepoint block: a connection whose statements belong to the block.

    Made by `Connection.transaction` and `Connection.savepoint`. It has all methods of `Connection`,
    so that a function which takes a connection works inside of a block too; those that would end
    the transaction, or close the connection, raise `ProgrammingError`. Before the block is entered
    and after it was left every statement does. Its settings are the connection's; it is not of the
    connection's class, if that is one of your own.
    """

    @property
    def connection(self) -> Connection[_RowT_co]:
        """The connection that the block belongs to."""

    def __await__(self) -> NoReturn:
        """Raise `TypeError`: a block is entered by ``async with``."""

    async def __aenter__(self) -> Self:
        """Begin the transaction, or set the savepoint.

        Raises:
            ProgrammingError: If a bare or implicit transaction is open (not for a savepoint); if
                the block was entered before.
            TimeoutError: If a lock, or another task's block, does not end within the connection's
                ``timeout``; the message names the block.
            OperationalError: If SQLite can't begin; also, once, if SQLite has rolled back the
                transaction before.
            ConnectionClosedError: If the connection is closed, or not open yet.

        Cancellation:
            Queued, it never runs; a wait for a lock ends at once. What was begun is rolled back.
        """

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> None:
        """Commit, or roll back after an exception.

        After an exception an error of the rollback does not hide it: it becomes a note (Python 3.11
        and newer) and is logged to ``aiolibsql``.

        Raises:
            IntegrityError: If a deferred constraint fails; rolled back.
            TimeoutError: If a lock does not become free within the connection's ``timeout``; rolled
                back.
            OperationalError: If SQLite can't commit, or has rolled the transaction back before.
            ProgrammingError: If a block inside of this one is still open; rolled back.
            ConnectionClosedError: If the connection was closed, which rolled back.

        Cancellation:
            Cancelled before it commits, it rolls back. A COMMIT that waits for a lock gives up and
            rolls back; once it holds its locks it runs to its end while the cancelled caller waits.
            A ROLLBACK is always done.
        """

    def close(self) -> Operation[None]:
        """Raise `ProgrammingError`: close the connection instead, which rolls the block back.

        Cancellation:
            Nothing is submitted.
        """

    def stop(self) -> Operation[None]:
        """Raise `ProgrammingError`, as `close`.

        Cancellation:
            Nothing is submitted.
        """

@disjoint_base
class _Pool:
    """What `aiolibsql.ConnectionPool` is made of."""

    def __new__(
        cls,
        acquire_timeout: float,
        max_waiting: int | None,
        is_single: bool,
        is_remote: bool,
        max_lifetime: float | None = None,
        max_idle: float | None = None,
    ) -> Self: ...
    def _keep_model(self, connection: Connection[Any]) -> None: ...
    def _admit(self) -> None: ...
    def _set_readers(self, most: int, least: int) -> None: ...
    def _open_next(self) -> Operation[bool]: ...
    def _members(self) -> list[Connection[Any]]: ...
    def _state(self) -> tuple[Any, ...]: ...
    def _waiting(self) -> tuple[int, int]: ...
    def _borrowed(self) -> int: ...
    def _is_lent(self, connection: Connection[Any]) -> bool: ...
    def _shut(self) -> None: ...
    def _drained(self) -> Operation[None]: ...
    def _acquire(
        self, readonly: bool, timeout: float | None = None, plain: bool = False
    ) -> Operation[Connection[Any]]: ...
    def _suspend(self, connection: Connection[Any]) -> Operation[None]: ...
    def _reopen(self, connection: Connection[Any]) -> Operation[Connection[Any]]: ...
    def _check_key(self, new_key: object) -> None: ...
    def _forget_key(self) -> None: ...
    def _release(self, connection: Connection[Any]) -> Operation[None]: ...
    def execute(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[PoolCursor[Any]]:
        """Execute a statement on a connection that is free and may run it.

        What only reads runs on a reader. INSERT, UPDATE, DELETE and REPLACE are committed together
        with others that wait at the same time; each is reported when it is committed. Where a
        statement belongs is known from SQLite's compiled form of it, not from its text. In a task
        that has borrowed a connection, by `read`, `write` or `transaction`, it runs there.

        Args:
            sql: One statement.
            parameters: Values for its parameters: a sequence, or a mapping of names.
            timeout: Seconds that it may wait and run.

        Returns:
            A cursor. As long as it has rows that were not read, it keeps its connection: read it to
            its end, or close it, as ``async with pool.execute(..) as cursor`` does.

        Raises:
            ProgrammingError: For what depends on one connection, such as BEGIN, ATTACH, temporary
                tables, most PRAGMAs and ``last_insert_rowid()``; it names what to use.
            PoolTimeout: If no connection came free within ``acquire_timeout``.
            PoolClosed: If the pool was closed.
            Error: As `Connection.execute`.

        Cancellation:
            As `Connection.execute`. A write that is being committed with others may be committed.
        """

    def fetch_all(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[list[Any]]:
        """Execute a statement and return all its rows, as `Connection.fetch_all`.

        Args:
            sql: One statement.
            parameters: Values for its parameters: a sequence, or a mapping of names.
            timeout: Seconds that it may wait and run.

        Returns:
            The rows, as the row factory makes them.

        Raises:
            Error: As `execute`.

        Cancellation:
            As `execute`.
        """

    def fetch_one(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[Any]:
        """Execute a statement and return its first row, as `Connection.fetch_one`.

        Args:
            sql: One statement.
            parameters: Values for its parameters: a sequence, or a mapping of names.
            timeout: Seconds that it may wait and run.

        Returns:
            The row, as the row factory makes it.

        Raises:
            DatabaseError: If there is no row.
            Error: As `execute`.

        Cancellation:
            As `execute`.
        """

    def fetch_optional(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[Any]:
        """Execute a statement and return its first row, or None, as `Connection.fetch_optional`.

        Args:
            sql: One statement.
            parameters: Values for its parameters: a sequence, or a mapping of names.
            timeout: Seconds that it may wait and run.

        Returns:
            The row, as the row factory makes it, or None.

        Raises:
            Error: As `execute`.

        Cancellation:
            As `execute`.
        """

    def fetch_scalar(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[Any]:
        """Execute a statement and return the first value of its first row, or None.

        Args:
            sql: One statement.
            parameters: Values for its parameters: a sequence, or a mapping of names.
            timeout: Seconds that it may wait and run.

        Returns:
            The value, or None if there is no row.

        Raises:
            Error: As `execute`.

        Cancellation:
            As `execute`.
        """

    def fetch_blob(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[bytes | None]:
        """Execute a statement and return the first value of its first row, which is a BLOB.

        Args:
            sql: One statement.
            parameters: Values for its parameters: a sequence, or a mapping of names.
            timeout: Seconds that it may wait and run.

        Returns:
            The bytes; None for NULL, or if there is no row.

        Raises:
            TypeError: If the value is neither a BLOB nor NULL.
            Error: As `execute`.

        Cancellation:
            As `execute`.
        """

    def execute_insert(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[tuple[int]]:
        """Execute an INSERT and return the rowid in a tuple, as `Connection.execute_insert`.

        Args:
            sql: One statement.
            parameters: Values for its parameters: a sequence, or a mapping of names.
            timeout: Seconds that it may wait and run.

        Returns:
            ``(rowid,)``: that of the row which this statement has inserted last.

        Raises:
            Error: As `execute`.

        Cancellation:
            As `execute`.
        """

    def execute_fetchall(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[list[Any]]:
        """Execute a statement and return all its rows; `fetch_all` by its name in aiosqlite.

        Args:
            sql: One statement.
            parameters: Values for its parameters: a sequence, or a mapping of names.
            timeout: Seconds that it may wait and run.

        Returns:
            The rows, as the row factory makes them.

        Raises:
            Error: As `execute`.

        Cancellation:
            As `execute`.
        """

    def executemany(
        self,
        sql: str,
        parameters: Iterable[Parameters] | AsyncIterable[Parameters],
        *,
        timeout: float | None = None,
    ) -> Operation[PoolCursor[Any]]:
        """Execute a statement for each row of parameters, as `Connection.executemany`.

        It is a transaction of its own on the connection that writes; inside of a `transaction` or
        `write` block of the task it takes part in that.

        Args:
            sql: An INSERT, UPDATE, DELETE or REPLACE.
            parameters: An iterable or async iterable of sequences or mappings.
            timeout: Seconds that it may run; the wait for the connection has ``acquire_timeout``.

        Returns:
            A cursor with the sum of the changed rows.

        Raises:
            PoolTimeout: As `execute`.
            Error: As `Connection.executemany`.

        Cancellation:
            All of them or none.
        """

    def executebatch(self, operations: Iterable[BatchOperation]) -> Operation[PoolCursor[Any]]:
        """Execute several statements, all of them or none, as `Connection.batch`.

        They run in a transaction on the connection that writes; inside of a `transaction` or
        `write` block of the task in a savepoint of that.

        Args:
            operations: Statements, or tuples of a statement and its parameters.

        Returns:
            A cursor with all rows of the last one; its ``rowcount`` is the sum of the rows that all
            of them have changed.

        Raises:
            TypeError: If an operation is neither SQL nor such a tuple; nothing is executed then.
            PoolTimeout: As `execute`.
            Error: That of the first statement that fails.

        Cancellation:
            All of them or none.
        """

    def batch(self, operations: Iterable[BatchOperation]) -> Operation[PoolCursor[Any]]:
        """Execute several statements, all of them or none; `executebatch` by its other name.

        Args:
            operations: As for `executebatch`.

        Returns:
            As for `executebatch`.

        Raises:
            Error: As for `executebatch`.

        Cancellation:
            As for `executebatch`.
        """

    @property
    def iter_chunk_size(self) -> int:
        """Rows that ``async for`` fetches first, and that `execute_iter` gives at a time."""

    @property
    def query_usage_tracking(self) -> bool:
        """Whether executions are counted for `query_usage` (as rapsqlite); False at first."""

    @query_usage_tracking.setter
    def query_usage_tracking(self, value: bool) -> None: ...
    def query_usage(self) -> dict[str, int]:
        """Return how often each SQL text was executed, as `Connection.query_usage`.

        Those of the pool itself and of connections that are borrowed count alike.

        Returns:
            The counts by SQL text.
        """

    def query_usage_dropped(self) -> int:
        """Return how many executions were not counted because there were too many texts.

        Returns:
            Their number (as rapsqlite).
        """

    def clear_query_usage(self) -> None:
        """Begin to count anew (as rapsqlite)."""

    @property
    def include_query_in_errors(self) -> bool:
        """Whether the message of an error ends with the query, as `Connection` has it."""

    @include_query_in_errors.setter
    def include_query_in_errors(self, value: bool) -> None: ...
    def on_query(self, callback: _QueryHookT) -> _QueryHookT:
        """Have something called after each statement, as `Connection.on_query` describes.

        Those of the pool itself and of connections that are borrowed are told of alike. The seconds
        are without the wait for a connection, and without the COMMIT of a write that is committed
        together with others.

        Args:
            callback: A callable, not ``async``.

        Returns:
            The callback: it may be used as a decorator.

        Raises:
            TypeError: For what can't be called, or is ``async``: nobody would await it.
        """

    def off_query(self, callback: Callable[..., object]) -> None:
        """Take out what was given to `on_query`; if several are equal, the last one.

        Args:
            callback: What compares equal to it.

        Raises:
            ValueError: If there is none.
        """

    def set_slow_query_threshold(
        self, threshold_secs: float, callback: Callable[[float, str], object] | None = None
    ) -> None:
        """Tell of statements that take long, as `Connection.set_slow_query_threshold`.

        What is timed is that of `ConnectionPool.on_query`.

        Args:
            threshold_secs: From how many seconds on a statement is slow; 0 for none.
            callback: Called with the seconds and the SQL, in the task that awaits, when the
                statement has ended. What it raises goes to `sys.unraisablehook`. None for a warning
                of the logger ``aiolibsql.query``.

        Raises:
            ValueError: If the threshold is negative or a NaN.
            TypeError: For an async callback, which nobody would await.
        """

    def _cursor_on(self, connection: Connection[Any]) -> PoolCursor[Any]: ...

@final
class Blob:
    """A BLOB or text of a table, as a file of fixed length (as `sqlite3.Blob`).

    `Connection.blobopen` opens it; ``async with`` closes it at the end. Unlike `sqlite3.Blob` it
    has to be awaited: ``await blob[3]``, ``await blob[2:10]``, and `set` in place of an assignment
    to them. A change of the row by a statement, and a ROLLBACK, expire it: it can only be closed
    then. Operations of several tasks each move the position when they are started.

    Raises:
        ProgrammingError: From every method but `close`, if it is closed.
        ConnectionClosedError: The same, if its connection is closed.

    Example:
        ```python
        async with conn.blobopen("photo", "pixels", 1) as blob:
            await blob.seek(-1, os.SEEK_END)
            last = await blob.read()
            assert last[0] == await blob[-1]
        ```
    """

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_args: object) -> None: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> Literal[True]: ...
    def __iter__(self) -> NoReturn:
        """Raise `TypeError`: a blob is read by `read` and by index."""

    @overload
    def __getitem__(self, key: SupportsIndex, /) -> Operation[int]:
        """Read a byte, or the bytes of a slice; the position stays.

        Slices may have any step, also a negative one.

        Args:
            key: The index or slice.

        Returns:
            An int for an index, bytes for a slice.

        Raises:
            TypeError: If the key is neither.
            IndexError: If the index is beyond the ends.
            OperationalError: If the blob has expired, or SQLite can't read it.

        Cancellation:
            Queued, it never runs.
        """

    @overload
    def __getitem__(self, key: slice, /) -> Operation[bytes]: ...
    def set(self, key: SupportsIndex | slice, value: int | Buffer, /) -> Operation[None]:
        """Write a byte, or the bytes of a slice, as ``blob[key] = value`` of `sqlite3`.

        The position stays.

        Args:
            key: The index or slice, of any step.
            value: An int for an index, as many bytes as it has for a slice. It is read when the
                method is called.

        Raises:
            TypeError: If the key is neither, or the value does not go with it.
            IndexError: If the index is beyond the ends, or the value has another length.
            ValueError: If the int is no byte.
            OperationalError: If the blob has expired or is read-only, or SQLite can't write it.

        Cancellation:
            Queued, it never runs. Once it runs it is done.
        """

    def read(self, length: int = ..., /) -> Operation[bytes]:
        """Read from the position on, and move it behind.

        Args:
            length: Bytes to read; a negative number, the default, for all that are left.

        Returns:
            The bytes; fewer if fewer are left.

        Raises:
            OperationalError: If the blob has expired, or SQLite can't read it. The position stays.

        Cancellation:
            Queued, it never runs. The position goes back, unless it was moved since.
        """

    def write(self, data: Buffer, /) -> Operation[None]:
        """Write at the position, and move it behind. The length of a blob can't change.

        Args:
            data: The bytes, which are read when the method is called.

        Raises:
            TypeError: If it is no buffer.
            ValueError: If it is longer than what is left of the blob.
            OperationalError: If the blob has expired or is read-only, or SQLite can't write it. The
                position stays.

        Cancellation:
            Queued, it never runs. Once it runs it is done. The position goes back in any case,
            unless it was moved since.
        """

    def tell(self) -> Operation[int]:
        """Return the position.

        Cancellation:
            It changes nothing.
        """

    def seek(self, offset: int, origin: int = 0, /) -> Operation[None]:
        """Move the position. Unlike a file's it returns None (as `sqlite3`).

        Args:
            offset: Bytes from the origin.
            origin: `os.SEEK_SET`, `os.SEEK_CUR` or `os.SEEK_END`.

        Raises:
            ValueError: If that is beyond the ends, or there is no such origin.

        Cancellation:
            The position stays.
        """

    def close(self) -> Operation[None]:
        """Close the blob, after the operations before it. Closing again does nothing.

        Raises:
            OperationalError: If what was written outside of a transaction can't be committed; it is
                rolled back, and the blob is closed all the same.

        Cancellation:
            It is done even if the caller was cancelled before; the cancelled caller waits for it.
        """

@disjoint_base
class Cursor(Generic[_RowT_co]):
    """Executes statements and fetches their rows, of one statement at a time.

    It may be awaited, which gives the cursor itself, and entered with ``async with``, which closes
    it. ``async for`` fetches ahead, in batches that grow from `iter_chunk_size` to 1024 rows. While
    rows are left the statement is open and holds a read snapshot; the next execution, closing the
    cursor and dropping it end it.

    Args:
        connection: The connection to execute on.

    Example:
        ```python
        async with conn.cursor() as cursor:
            await cursor.execute("SELECT name, mass FROM planet")
            async for name, mass in cursor:
                print(name, mass)
        ```
    """

    def __new__(cls, connection: Connection[_RowT_co]) -> Self: ...
    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __await__(self) -> Generator[Any, None, Self]: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_args: object) -> None: ...
    def __aiter__(self) -> RowIterator[_RowT_co]: ...
    def __anext__(self) -> Operation[_RowT_co]: ...
    def execute(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[Self]:
        """Execute one statement; rows that are left of the one before are dropped.

        Args:
            sql: One statement, as for `Connection.execute`.
            parameters: As for `Connection.execute`.
            timeout: Seconds, as for `Connection.execute`.

        Returns:
            The cursor itself.

        Raises:
            ProgrammingError: If the cursor is closed; also as for `Connection.execute`.
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.execute`; the cursor has no rows then.
        """

    def executemany(
        self,
        sql: str,
        parameters: Iterable[Parameters] | AsyncIterable[Parameters],
        *,
        timeout: float | None = None,
    ) -> Operation[Self]:
        """Execute one statement for each row of parameters; all of it is done, or nothing.

        Args:
            sql: An INSERT, UPDATE, DELETE or REPLACE, as for `Connection.executemany`.
            parameters: An iterable, as for `Connection.executemany`.
            timeout: Seconds, as for `Connection.execute`.

        Returns:
            The cursor itself.

        Raises:
            ProgrammingError: If the cursor is closed; also as for `Connection.executemany`.
            Error: As for `Connection.executemany`.

        Cancellation:
            As for `Connection.executemany`.
        """

    def executescript(self, sql_script: str, *, timeout: float | None = None) -> Operation[Self]:
        """Execute any number of statements (as `sqlite3`).

        Args:
            sql_script: The statements, as for `Connection.executescript`.
            timeout: Seconds, as for `Connection.execute`.

        Returns:
            The cursor itself, without rows.

        Raises:
            ProgrammingError: If the cursor is closed; also as for `Connection.executescript`.
            Error: As for `Connection.executescript`.

        Cancellation:
            As for `Connection.executescript`.
        """

    def fetchone(self) -> Operation[_RowT_co | None]:
        """Fetch the next row (PEP 249).

        Returns:
            The row, or None if no more are left or nothing was executed.

        Raises:
            ProgrammingError: If the cursor is closed.
            OperationalError: If reading on fails, after the rows before the error.
            ConnectionClosedError: If the connection is closed.
            Exception: Whatever a converter or a factory raises. The rows after that one can still
                be fetched.

        Cancellation:
            Queued, it loses no row. Running, it stops the statement: the rows that were read before
            can still be fetched, then an `OperationalError` comes.
        """

    def fetchmany(self, size: int | None = None) -> Operation[list[_RowT_co]]:
        """Fetch the next rows (PEP 249).

        Args:
            size: How many rows; None for `arraysize`, a negative number for all.

        Returns:
            The rows; fewer if fewer are left.

        Raises:
            ProgrammingError: If the cursor is closed.
            OperationalError: If reading on fails.
            ConnectionClosedError: If the connection is closed.
            Exception: Whatever a converter or a factory raises. The rows after that one can still
                be fetched.

        Cancellation:
            As for `fetchone`; rows are taken from the cursor only when all of them are there.
        """

    def fetchall(self) -> Operation[list[_RowT_co]]:
        """Fetch all the rows that are left (PEP 249).

        A large result becomes Python objects in slices of about 0.2 ms, between which the event
        loop has its turn.

        Returns:
            The rows.

        Raises:
            ProgrammingError: If the cursor is closed.
            OperationalError: If reading on fails.
            ConnectionClosedError: If the connection is closed.
            Exception: Whatever a converter or a factory raises. The rows after that one can still
                be fetched.

        Cancellation:
            Queued, it loses no row. Running, it stops the statement, and rows that were taken are
            lost.
        """

    def close(self) -> Operation[None]:
        """Close the cursor and end its statement. Closing again does nothing.

        Cancellation:
            It is done even if the caller was cancelled before; the cancelled caller waits for it.
        """

    def setinputsizes(self, sizes: object, /) -> None:
        """Do nothing (PEP 249).

        Args:
            sizes: Ignored.
        """

    def setoutputsize(self, size: object, column: object = None, /) -> None:
        """Do nothing (PEP 249).

        Args:
            size: Ignored.
            column: Ignored.
        """

    @property
    def connection(self) -> Connection[_RowT_co]:
        """The connection that the cursor belongs to."""

    @property
    def description(self) -> Description | None:
        """The columns of the last execution (PEP 249), or None if it gave no rows.

        For each column a tuple of its name and six times None (as `sqlite3`); under
        `PARSE_COLNAMES` the name ends before a type in brackets.
        """

    @property
    def rowcount(self) -> int:
        """Rows that the last execution changed (as `sqlite3`).

        -1 for what is no INSERT, UPDATE, DELETE or REPLACE, and before the first execution;
        `executemany` gives the sum. Rows of RETURNING are counted at once, before they are fetched.
        """

    @property
    def lastrowid(self) -> int | None:
        """The rowid that the connection inserted last, as the last `execute` found it.

        None before the first; `executemany` and `executescript` leave it as it was (as `sqlite3`).
        """

    @property
    def arraysize(self) -> int:
        """Rows that `fetchmany` fetches (PEP 249); 1 at first.

        Raises:
            OverflowError: On assigning a negative number.
        """

    @arraysize.setter
    def arraysize(self, size: int) -> None: ...
    @property
    def iter_chunk_size(self) -> int:
        """Rows that iteration asks SQLite for next (as aiosqlite); it doubles, up to 1024.

        Raises:
            OverflowError: On assigning a negative number.
        """

    @iter_chunk_size.setter
    def iter_chunk_size(self, size: int) -> None: ...
    @property
    def row_factory(self) -> RowFactory[Any]:
        """What this cursor makes of a row; `Connection.row_factory` describes the values.

        Raises:
            TypeError: On assigning something else.
        """

    @row_factory.setter
    def row_factory(self, factory: RowFactory[Any]) -> None: ...

@final
class PoolCursor(Cursor[_RowT_co]):
    """The rows of a statement that a pool has executed, and what it did.

    It fetches and iterates as every `Cursor`. While it has rows that were not read, it keeps a
    connection of the pool from others: read it to its end, close it, or let ``async with`` do
    that. One that is dropped before gives the connection back with a `ResourceWarning`.

    Example:
        ```python
        async with pool.execute("SELECT name, mass FROM planet") as cursor:
            async for name, mass in cursor:
                print(name, mass)
        ```
    """

    @property
    def connection(self) -> ConnectionPool:  # type: ignore[override]
        """The pool that has executed the statement."""

    def execute(
        self, sql: str, parameters: Parameters | None = None, *, timeout: float | None = None
    ) -> Operation[NoReturn]:
        """Raise `ProgrammingError`: the next statement may belong to another connection.

        Args:
            sql: Not executed.
            parameters: Not used.
            timeout: Not used.

        Returns:
            Nothing: the await raises.

        Raises:
            ProgrammingError: Always; it names what to use.

        Cancellation:
            Nothing is submitted.
        """

    def executemany(
        self,
        sql: str,
        parameters: Iterable[Parameters] | AsyncIterable[Parameters],
        *,
        timeout: float | None = None,
    ) -> Operation[NoReturn]:
        """Raise `ProgrammingError`, as `execute`.

        Args:
            sql: Not executed.
            parameters: Not used.
            timeout: Not used.

        Returns:
            Nothing: the await raises.

        Raises:
            ProgrammingError: Always, as `execute`.

        Cancellation:
            Nothing is submitted.
        """

    def executescript(
        self, sql_script: str, *, timeout: float | None = None
    ) -> Operation[NoReturn]:
        """Raise `ProgrammingError`, as `execute`.

        Args:
            sql_script: Not executed.
            timeout: Not used.

        Returns:
            Nothing: the await raises.

        Raises:
            ProgrammingError: Always, as `execute`.

        Cancellation:
            Nothing is submitted.
        """

    def _execute_all(self, sql: str, parameters: Parameters | None = None) -> Operation[Self]: ...
    def _set_rowcount(self, rowcount: int) -> None: ...

@final
class PreparedQuery(Generic[_RowT_co]):
    """A statement that stays compiled; made by `Connection.prepare` (as rapsqlite).

    Its executions take part in transactions as the connection's own do, and two of them may be
    read at the same time. Parameters, errors and cancellations are those of the `Connection` method
    of the same name.

    Example:
        ```python
        add = conn.prepare("INSERT INTO planet VALUES (?)")
        async with conn.transaction():
            for name in ("Ceres", "Vesta"):
                await add.execute((name,))
        ```
    """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    @property
    def query(self) -> str:
        """The SQL."""

    def execute(self, parameters: Parameters | None = None) -> Operation[Cursor[_RowT_co]]:
        """Execute it on a new cursor, as `Connection.execute`.

        Args:
            parameters: As for `Connection.execute`.

        Returns:
            The cursor.

        Raises:
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.execute`.
        """

    def fetch_all(self, parameters: Parameters | None = None) -> Operation[list[_RowT_co]]:
        """Execute it and return all its rows, as `Connection.fetch_all`.

        Args:
            parameters: As for `Connection.execute`.

        Returns:
            The rows.

        Raises:
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.execute`.
        """

    def fetch_one(self, parameters: Parameters | None = None) -> Operation[_RowT_co]:
        """Execute it and return its first row, which there has to be, as `Connection.fetch_one`.

        Args:
            parameters: As for `Connection.execute`.

        Returns:
            The row.

        Raises:
            DatabaseError: If there is no row.
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.execute`.
        """

    def fetch_optional(self, parameters: Parameters | None = None) -> Operation[_RowT_co | None]:
        """Execute it and return its first row, or None, as `Connection.fetch_optional`.

        Args:
            parameters: As for `Connection.execute`.

        Returns:
            The row, or None if there is none.

        Raises:
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.execute`.
        """

    def fetch_scalar(self, parameters: Parameters | None = None) -> Operation[Any]:
        """Execute it and return its first row's first value, as `Connection.fetch_scalar`.

        Args:
            parameters: As for `Connection.execute`.

        Returns:
            The value, or None if there is no row.

        Raises:
            TypeError: If it was prepared with ``blob=True`` and the value is not a BLOB.
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.execute`.
        """

    def fetch_blob(self, parameters: Parameters | None = None) -> Operation[bytes | None]:
        """Execute it and return the BLOB of its first row, as `Connection.fetch_blob`.

        Args:
            parameters: As for `Connection.execute`.

        Returns:
            The bytes; None if the value is NULL or there is no row.

        Raises:
            TypeError: If the value is not a BLOB.
            Error: As for `Connection.execute`.

        Cancellation:
            As for `Connection.execute`.
        """

@disjoint_base
class Row(Sequence[Any]):
    """A row whose values can be reached by index, slice and column name (as `sqlite3.Row`).

    Names are compared without regard to the case of ASCII letters; of equal names the first one
    counts. An unknown name raises `IndexError`. Rows are equal if their names and values are.
    Iteration and ``in`` look at values.

    Args:
        cursor: The cursor whose columns give the names.
        values: The values.

    Example:
        ```python
        async with aiolibsql.connect("planets.db", row_factory=aiolibsql.Row) as conn:
            row = await conn.fetch_one("SELECT name, mass FROM planet")
            assert row["NAME"] == row[0]
        ```
    """

    def __new__(cls, cursor: Cursor[Any] | dbapi.Cursor, values: tuple[Any, ...]) -> Self: ...
    @overload
    def __getitem__(self, key: int | str, /) -> Any: ...
    @overload
    def __getitem__(self, key: slice, /) -> tuple[Any, ...]: ...
    def __len__(self) -> int: ...
    def __contains__(self, value: object, /) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def keys(self) -> list[str]:
        """Return the column names, in order (as `sqlite3`)."""

    def values(self) -> list[Any]:
        """Return the values, in order."""

    def items(self) -> list[tuple[str, Any]]:
        """Return pairs of name and value, in order."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a column, or a default.

        Args:
            name: The column's name, in any case.
            default: What to return if there is no such column.

        Returns:
            The value, which may be None.
        """

    def asdict(self) -> dict[str, Any]:
        """Return the row as a dict; of equal names the last one stays."""

    def _asdict(self) -> dict[str, Any]:
        """Return the row as a dict, by the name that named tuples have for it."""

    def astuple(self) -> tuple[Any, ...]:
        """Return the values as a tuple."""

    @property
    def _fields(self) -> tuple[str, ...]:
        """The column names, as named tuples have them."""

@final
class Operation(Coroutine[Any, Any, _T_co]):
    """A coroutine that does what a method promises, once it is awaited.

    Nothing happens before that, and dropping it un-awaited gives a `RuntimeWarning`. It runs under
    asyncio, uvloop and trio alike, and wherever a coroutine may: in `asyncio.create_task`, in task
    groups, as ``nursery.start_soon(conn.execute, sql)``. It can be awaited once.

    As an async context manager (as aiosqlite) it gives its value to the block; a cursor that it
    gave is closed at the end, and a connection of a pool is given back.

    Cancellation:
        An operation that is queued behind others of its connection never runs. One that runs is
        told to stop: a statement stops at SQLite's next look, after at most 500 steps of its
        program, a wait for a lock at once. The caller does not wait for that, and the connection
        stays usable.
        `Connection.rollback` and whatever closes something run to their end, even if the caller was
        cancelled before it awaited them; a COMMIT that holds its locks runs to its end too. For
        these the cancelled caller waits. Each method says what stays of its work.

    Example:
        ```python
        async with conn.execute("SELECT name FROM planet") as cursor:
            async for (name,) in cursor:
                print(name)
        ```
    """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    __name__: str
    """The name of the method that returned it, such as ``"execute"``."""

    __qualname__: str
    """The same with its class, such as ``"Connection.execute"``."""

    @property
    def cr_await(self) -> None:
        """None; for `inspect`."""

    @property
    def cr_frame(self) -> None:
        """None, for it is not written in Python; for `inspect`."""

    @property
    def cr_running(self) -> bool:
        """Whether it is being resumed right now; for `inspect`."""

    @property
    def cr_suspended(self) -> bool:
        """Whether it was started and has not ended; for `inspect`."""

    def __await__(self) -> Generator[Any, None, _T_co]: ...
    # By its methods it is a Generator too, and checkers look here for the type of its value.
    def __iter__(self) -> Generator[Any, None, _T_co]: ...
    def __next__(self) -> Any: ...
    async def __aenter__(self) -> _T_co: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> None: ...
    def send(self, value: Any) -> Any:
        """Continue the operation, as `coroutine.send`; event loops call it.

        Args:
            value: None, or what the event loop answers.

        Returns:
            What the event loop is to wait for.

        Raises:
            StopIteration: When the operation has ended; its value is the result.
            RuntimeError: If it had ended before, or neither asyncio nor trio runs.
        """

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        """Raise an exception where the operation waits, as `coroutine.throw`.

        Args:
            typ: The exception, or its class.
            val: The exception or its argument, if the first one is a class.
            tb: The exception's traceback.

        Returns:
            What the event loop is to wait for, if the operation goes on.

        Raises:
            BaseException: The exception, as a rule.
        """

    def close(self) -> None:
        """End the operation without a result, as `coroutine.close`.

        One that was started is abandoned as by a cancellation.
        """

@final
class RowIterator(AsyncIterator[_T_co]):
    """The rows of a cursor, as ``async for`` takes them.

    Each step is an await of the iterator itself. It returns a row that is there at once, but the
    event loop has a turn between batches and after 64 rows.

    Cancellation:
        As for `Cursor.fetchone`.
    """

    def __class_getitem__(cls, key: Any) -> GenericAlias: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Self: ...
    def __await__(self) -> Generator[Any, None, _T_co]: ...
    def __iter__(self) -> Generator[Any, None, _T_co]: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any:
        """Continue the wait for a row, as `coroutine.send`; event loops call it.

        Args:
            value: None, or what the event loop answers.

        Returns:
            What the event loop is to wait for.

        Raises:
            StopIteration: When there is a row; its value is the row.
            StopAsyncIteration: If no more rows are left.
        """

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        """Raise an exception where the iteration waits, as `coroutine.throw`.

        Args:
            typ: The exception, or its class.
            val: The exception or its argument, if the first one is a class.
            tb: The exception's traceback.

        Returns:
            What the event loop is to wait for, if the wait goes on.

        Raises:
            BaseException: The exception, as a rule.
        """

    def close(self) -> None:
        """End the wait for a row, as `coroutine.close`."""

@final
class _Backup:
    """The parts of `Connection.backup`, in their order."""

    def __new__(
        cls, source: Connection[Any], target: Connection[Any] | None, name: str
    ) -> Self: ...
    @property
    def timeout(self) -> float:
        """Seconds that the source waits for locks."""

    @property
    def is_encrypted(self) -> bool:
        """Whether the source is."""

    def begin(self) -> Operation[None]:
        """Make the source one.

        Cancellation:
            Queued, it never runs.
        """

    def borrow_target(self) -> Operation[None]:
        """Get hold of the target, until the end.

        Cancellation:
            `finish` gives it back.
        """

    def step(self, pages: int) -> Operation[tuple[int, int, int]]:
        """Copy some pages.

        Args:
            pages: How many; a negative number for all.

        Returns:
            SQLite's result code, the pages that remain, and the pages in all.

        Cancellation:
            The step ends soon, somewhere.
        """

    def answer(self, awaitable: Any) -> Operation[None]:
        """Await what a progress callback has returned, where the target can't be used.

        Args:
            awaitable: That.

        Cancellation:
            The awaitable's.
        """

    def finish(self) -> Operation[None]:
        """End it, whether the result is awaited or not.

        Raises:
            OperationalError: What ended it before it was through.

        Cancellation:
            It is done all the same.
        """

    def image(self) -> Operation[bytes]:
        """End one into memory, and return the bytes of the copy.

        Cancellation:
            Queued, it never runs.
        """

@final
class _MemoryName:
    """Stands for a path where a database in memory is meant, by its name."""

    def __new__(cls, name: str) -> Self: ...
