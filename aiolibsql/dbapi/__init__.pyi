# ruff: noqa: PYI021 - this stub is the reference manual
"""Blocking driver for SQLite and libSQL: PEP 249, with the names and the semantics of `sqlite3`.

It is the engine of `aiolibsql` without an event loop: a statement runs on the thread that calls,
which lets go of the interpreter meanwhile. A connection is either one of these or one of
`aiolibsql.connect`, never both.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Literal, SupportsIndex, final, overload

from typing_extensions import Buffer, Self, TypeVar, disjoint_base

from aiolibsql import LEGACY_TRANSACTION_CONTROL as LEGACY_TRANSACTION_CONTROL
from aiolibsql import PARSE_COLNAMES as PARSE_COLNAMES
from aiolibsql import PARSE_DECLTYPES as PARSE_DECLTYPES
from aiolibsql import Binary as Binary
from aiolibsql import Date as Date
from aiolibsql import DateFromTicks as DateFromTicks
from aiolibsql import PrepareProtocol as PrepareProtocol
from aiolibsql import Row as Row
from aiolibsql import Time as Time
from aiolibsql import TimeFromTicks as TimeFromTicks
from aiolibsql import Timestamp as Timestamp
from aiolibsql import TimestampFromTicks as TimestampFromTicks
from aiolibsql import adapt as adapt
from aiolibsql import adapters as adapters
from aiolibsql import complete_statement as complete_statement
from aiolibsql import converters as converters
from aiolibsql import exceptions as _exceptions
from aiolibsql import register_adapter as register_adapter
from aiolibsql import register_converter as register_converter
from aiolibsql import sqlite_version as sqlite_version
from aiolibsql import sqlite_version_info as sqlite_version_info
from aiolibsql._constants import *
from aiolibsql._types import (
    AuthToken,
    AutocommitSetting,
    Description,
    IsolationLevel,
    Parameters,
    QueryHook,
)
from aiolibsql.exceptions import DatabaseError as DatabaseError
from aiolibsql.exceptions import DataError as DataError
from aiolibsql.exceptions import Error as Error
from aiolibsql.exceptions import IntegrityError as IntegrityError
from aiolibsql.exceptions import InterfaceError as InterfaceError
from aiolibsql.exceptions import InternalError as InternalError
from aiolibsql.exceptions import NotSupportedError as NotSupportedError
from aiolibsql.exceptions import OperationalError as OperationalError
from aiolibsql.exceptions import ProgrammingError as ProgrammingError
from aiolibsql.exceptions import Warning as Warning

_QueryHookT = TypeVar("_QueryHookT", bound=QueryHook)
_CursorT = TypeVar("_CursorT", bound=Cursor)
_ConnectionT = TypeVar("_ConnectionT", bound=Connection)

apilevel: Final[str]
"""PEP 249's: ``"2.0"``."""

paramstyle: Final[str]
"""PEP 249's: ``"qmark"``; named parameters work too."""

threadsafety: Final[int]
"""PEP 249's: 3, threads may share connections and cursors, if ``check_same_thread`` is False."""

@overload
def connect(
    database: str | bytes | os.PathLike[str] | os.PathLike[bytes] | object,
    timeout: float = 5.0,
    detect_types: int = 0,
    isolation_level: IsolationLevel = "",
    check_same_thread: bool = True,
    *,
    cached_statements: int = 128,
    uri: bool = False,
    autocommit: AutocommitSetting = -1,
    encryption_key: str | bytes | None = None,
    foreign_keys: bool = False,
    pragmas: dict[str, Any] | None = None,
    auth_token: AuthToken | None = None,
    tls: bool | None = None,
    namespace: str | None = None,
    request_timeout: float | None = None,
    connect_timeout: float | None = None,
    sync_url: str | None = None,
    sync_interval: float | None = None,
    read_your_writes: bool | None = None,
    offline: bool = False,
) -> Connection:
    """Open a database (as `sqlite3`).

    Args:
        database: A path, ``":memory:"``, a ``file:`` URI, or the URL of a database at a server, as
            for `aiolibsql.connect`; any object but a path stands for its ``str()``.
        timeout: Seconds to wait for another connection's lock.
        detect_types: `PARSE_DECLTYPES`, `PARSE_COLNAMES`, both added together, or 0.
        isolation_level: ``""``, ``"DEFERRED"``, ``"IMMEDIATE"`` or ``"EXCLUSIVE"``: the BEGIN that
            runs before INSERT, UPDATE, DELETE and REPLACE; None leaves transactions to the caller.
        check_same_thread: Refuse other threads than this one. If False, threads may share the
            connection: their statements wait their turn.
        factory: What is called with all arguments instead of `Connection`.
        cached_statements: Prepared statements to keep.
        uri: Take `database` for a URI. Names that begin with ``file:`` are taken so in any case.
        autocommit: True, False (PEP 249), or `LEGACY_TRANSACTION_CONTROL` for `isolation_level`, on
            every version of Python.
        encryption_key: The passphrase of an encrypted file, as for `aiolibsql.connect`.
        foreign_keys: Enforce foreign keys.
        pragmas: Run as ``PRAGMA name=value`` when the connection is opened, in order.
        auth_token: What a server knows us by, or a callable that returns it, which is asked again
            when the server refuses a token. It can't be ``async def`` here.
        tls: As for `aiolibsql.connect`.
        namespace: As for `aiolibsql.connect`.
        request_timeout: Seconds from a request to the end of its answer; 60 unless given.
        connect_timeout: Seconds until the first request can be sent; 10 unless given.
        sync_url: As for `aiolibsql.connect`.
        sync_interval: As for `aiolibsql.connect`.
        read_your_writes: As for `aiolibsql.connect`.
        offline: As for `aiolibsql.connect`.

    Returns:
        The connection, open.

    Raises:
        OperationalError: If the file can't be opened.
        DatabaseError: If the file is not a database, or its encryption key is wrong or missing.
        ConnectError, AuthError, TimeoutError: If the server can't be reached, lets us not in, or is
            silent.
        ProgrammingError: For a URL that makes no sense, and for parameters of local databases with
            a URL or the other way round.
        ValueError: For a null character in the path, an unknown isolation level or setting of
            autocommit.

    Example:
        ```python
        from aiolibsql import dbapi as sqlite3

        with sqlite3.connect("planets.db") as conn:
            conn.execute("INSERT INTO planet VALUES (?)", ("Ceres",))
        conn.close()
        ```
    """

@overload
def connect(
    database: str | bytes | os.PathLike[str] | os.PathLike[bytes] | object,
    timeout: float = 5.0,
    detect_types: int = 0,
    isolation_level: IsolationLevel = "",
    check_same_thread: bool = True,
    *,
    factory: Callable[..., _ConnectionT],
    **options: Any,
) -> _ConnectionT: ...
def enable_callback_tracebacks(enable: bool, /) -> None:
    """Have exceptions in callbacks reported to `sys.unraisablehook` (as `sqlite3`).

    Without it, they are only the ``__cause__`` of their statement's error, and lost where no
    statement fails by them.

    Args:
        enable: Whether to.
    """

@disjoint_base
class Connection:
    """A connection to a database, for code that blocks (as `sqlite3.Connection`).

    While it runs a statement, other threads go on, and other statements of the connection wait.
    Ctrl-C stops the statement. A callback runs on the thread whose statement calls it, and can't
    use the connection itself.
    """

    DataError: type[_exceptions.DataError]
    DatabaseError: type[_exceptions.DatabaseError]
    Error: type[_exceptions.Error]
    IntegrityError: type[_exceptions.IntegrityError]
    InterfaceError: type[_exceptions.InterfaceError]
    InternalError: type[_exceptions.InternalError]
    NotSupportedError: type[_exceptions.NotSupportedError]
    OperationalError: type[_exceptions.OperationalError]
    ProgrammingError: type[_exceptions.ProgrammingError]
    Warning: type[_exceptions.Warning]

    def __new__(cls, *_args: object, **_kwargs: object) -> Self: ...
    def __init__(
        self,
        database: str | bytes | os.PathLike[str] | os.PathLike[bytes] | object,
        timeout: float = 5.0,
        detect_types: int = 0,
        isolation_level: IsolationLevel = "",
        check_same_thread: bool = True,
        factory: object = None,
        cached_statements: int = 128,
        uri: bool = False,
        *,
        autocommit: AutocommitSetting = -1,
        encryption_key: str | bytes | None = None,
        foreign_keys: bool = False,
        pragmas: dict[str, Any] | None = None,
        auth_token: AuthToken | None = None,
        tls: bool | None = None,
        namespace: str | None = None,
        request_timeout: float | None = None,
        connect_timeout: float | None = None,
        sync_url: str | None = None,
        sync_interval: float | None = None,
        read_your_writes: bool | None = None,
        offline: bool = False,
    ) -> None: ...
    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open (as `sqlite3`)."""

    @property
    def total_changes(self) -> int:
        """Rows changed since the connection was opened (as `sqlite3`)."""

    @property
    def isolation_level(self) -> IsolationLevel:
        """The BEGIN of implicit transactions, or None; assigning it commits (as `sqlite3`)."""

    @isolation_level.setter
    def isolation_level(self, value: IsolationLevel) -> None: ...
    @property
    def autocommit(self) -> AutocommitSetting:
        """True, False, or `LEGACY_TRANSACTION_CONTROL` (as `sqlite3`)."""

    @autocommit.setter
    def autocommit(self, value: AutocommitSetting) -> None: ...
    @property
    def row_factory(self) -> Any:
        """What a row becomes: None, `Row`, or a callable of cursor and tuple (as `sqlite3`)."""

    @row_factory.setter
    def row_factory(self, value: Any) -> None: ...
    @property
    def text_factory(self) -> Any:
        """What a text becomes: `str`, `bytes`, or a callable of bytes (as `sqlite3`)."""

    @text_factory.setter
    def text_factory(self, value: Any) -> None: ...
    @overload
    def cursor(self, factory: None = ...) -> Cursor:
        """Make a cursor (as `sqlite3`).

        Args:
            factory: A callable of the connection that returns a cursor.

        Returns:
            The cursor.

        Raises:
            TypeError: If the factory returns something else.
        """

    @overload
    def cursor(self, factory: Callable[[Self], _CursorT]) -> _CursorT: ...
    def execute(self, sql: str, parameters: Parameters | None = None, /) -> Cursor:
        """Execute one statement on a new cursor (as `sqlite3`).

        Args:
            sql: The statement.
            parameters: Values for its parameters: a sequence, a mapping for named ones, or None.

        Returns:
            The cursor.

        Raises:
            ProgrammingError: For two statements, too few or too many parameters, or a value of a
                type that SQLite has nothing for; on the wrong thread; in a callback of the
                connection.
            OperationalError: If SQLite can't do it, or the statement is interrupted.
            IntegrityError: If a constraint fails.
        """

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> Cursor:
        """Execute one statement for each row of an iterable, on a new cursor (as `sqlite3`).

        Args:
            sql: An INSERT, UPDATE, DELETE or REPLACE.
            parameters: The rows. The iterable may use the connection; about 1000 rows are taken at
                a time.

        Returns:
            The cursor.

        Raises:
            ProgrammingError: As for `execute`, or for another kind of statement.
            Exception: Whatever the iterable raises. The rows before it were executed.
        """

    def executescript(self, sql_script: str, /) -> Cursor:
        """Commit, then execute any number of statements, on a new cursor (as `sqlite3`).

        Args:
            sql_script: The statements.

        Returns:
            The cursor.

        Raises:
            ValueError: For a null character.
            DatabaseError: As for `execute`; the statements after the failed one do not run.
        """

    # As `batch` of the asynchronous connection, with the cursors of all statements.
    def _batch(self, statements: Sequence[tuple[str, Parameters | None]]) -> list[Cursor]: ...
    def __call__(self, *args: str) -> object: ...
    def commit(self) -> None:
        """Commit the open transaction, if there is one (as `sqlite3`).

        Raises:
            OperationalError: If a lock does not become free within the timeout.
        """

    def rollback(self) -> None:
        """Roll the open transaction back, if there is one (as `sqlite3`)."""

    def close(self) -> None:
        """Close the connection (as `sqlite3`); an open transaction is rolled back."""

    def interrupt(self) -> None:
        """Stop the statement that runs now; from any thread, and without waiting (as `sqlite3`)."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        _tb: TracebackType | None,
        /,
    ) -> Literal[False]: ...
    def create_function(
        self,
        name: str,
        narg: int,
        func: Callable[..., Any] | None,
        *,
        deterministic: bool | None = None,
    ) -> None:
        """Make an SQL function of a callable (as `sqlite3`).

        Args:
            name: Its name in SQL.
            narg: How many arguments it takes; -1 for any number.
            func: The callable; None removes the function.
            deterministic: Whether equal arguments always give the same result.

        Raises:
            NotSupportedError: For an ``async def`` function.
            OperationalError: For a name or a number that SQLite refuses.
        """

    def create_aggregate(
        self, name: str, n_arg: int, aggregate_class: Callable[[], Any] | None
    ) -> None:
        """Make an SQL aggregate of a class with `step` and `finalize` (as `sqlite3`).

        Args:
            name: Its name in SQL.
            n_arg: How many arguments `step` takes; -1 for any number.
            aggregate_class: The class; None removes the aggregate.

        Raises:
            NotSupportedError: For ``async def`` methods.
        """

    def create_window_function(
        self, name: str, num_params: int, aggregate_class: Callable[[], Any] | None, /
    ) -> None:
        """Make an SQL window function of a class (as `sqlite3`).

        Args:
            name: Its name in SQL.
            num_params: How many arguments `step` takes; -1 for any number.
            aggregate_class: The class, with `step`, `finalize`, `value` and `inverse`; None removes
                the function.

        Raises:
            NotSupportedError: For ``async def`` methods.
            ProgrammingError: For a number that SQLite refuses.
        """

    def create_collation(self, name: str, callback: Callable[[str, str], int] | None, /) -> None:
        """Make an order of texts for ``COLLATE`` (as `sqlite3`).

        Args:
            name: Its name in SQL.
            callback: Tells by a negative number, 0 or a positive one how two texts stand; None
                removes the collation.

        Raises:
            NotSupportedError: For an ``async def`` function.
        """

    def set_authorizer(self, authorizer_callback: Callable[..., int] | None) -> None:
        """Ask a callable whether a statement may do what it does (as `sqlite3`).

        Args:
            authorizer_callback: Returns `SQLITE_OK`, `SQLITE_DENY` or `SQLITE_IGNORE`; None removes
                it.

        Raises:
            NotSupportedError: For an ``async def`` function.
        """

    @property
    def _label(self) -> str: ...
    def on_query(self, callback: _QueryHookT) -> _QueryHookT:
        """Have something called after each statement.

        It is called with the SQL, the seconds that the statement took, the number of rows, and its
        error or None, on the calling thread, before the method returns or raises. A cursor that
        is not read to its end is told of when it is, is closed, or dropped. There may be several,
        which are called in the order in which they were given; `off_query` takes one out.

        What it executes itself is told to none. What it raises goes to `sys.unraisablehook`. It
        keeps its caller waiting, so it should be quick.

        The seconds are those of the database: of the execution and of all fetches, waits for locks
        included, and at a server those of the requests. Those of `executemany` and `executescript`
        run from their call to their end. The rows are those that were read from the database, also
        if nobody has fetched them, or else those that the statement has changed; 0 for a script,
        which is told of as one.

        The error is what the method raises. What never reaches the database is not told of, nor are
        `commit` and `rollback`.

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

    def set_trace_callback(self, trace_callback: Callable[[str], object] | None) -> None:
        """Tell a callable of each statement that runs (as `sqlite3`).

        Args:
            trace_callback: Gets the SQL with its values; None removes it.

        Raises:
            NotSupportedError: For an ``async def`` function.
        """

    def set_progress_handler(self, progress_handler: Callable[[], object] | None, n: int) -> None:
        """Call something now and then while a statement runs (as `sqlite3`).

        Args:
            progress_handler: Stops the statement by returning something true; None removes it.
            n: Steps of SQLite's virtual machine between two calls, about.

        Raises:
            NotSupportedError: For an ``async def`` function.
        """

    def getlimit(self, category: int, /) -> int:
        """Return a limit of the connection (as `sqlite3`).

        Args:
            category: One of ``SQLITE_LIMIT_…``.

        Returns:
            The limit.

        Raises:
            ProgrammingError: For an unknown category.
        """

    def setlimit(self, category: int, limit: int, /) -> int:
        """Set a limit of the connection (as `sqlite3`).

        Args:
            category: One of ``SQLITE_LIMIT_…``.
            limit: The new limit, cut to SQLite's own; a negative one changes nothing.

        Returns:
            The limit before.

        Raises:
            ProgrammingError: For an unknown category.
        """

    def getconfig(self, op: int, /) -> bool:
        """Return a switch of the connection (as `sqlite3`).

        Args:
            op: One of ``SQLITE_DBCONFIG_…``.

        Returns:
            Whether it is on.

        Raises:
            ValueError: For an unknown switch.
        """

    def setconfig(self, op: int, enable: bool | None = None, /) -> None:
        """Set a switch of the connection (as `sqlite3`).

        Args:
            op: One of ``SQLITE_DBCONFIG_…``.
            enable: Whether it is to be on; it is, if that is left out.

        Raises:
            ValueError: For an unknown switch.
            OperationalError: If it stays as it was.
        """

    def enable_load_extension(self, enable: bool, /) -> None:
        """Allow or forbid `load_extension` (as `sqlite3`), but never to SQL.

        Args:
            enable: Whether to allow it.
        """

    def load_extension(self, name: str, /, *, entrypoint: str | None = None) -> None:
        """Load an extension of SQLite (as `sqlite3`).

        Args:
            name: The path of the shared library.
            entrypoint: The function that initialises it, if SQLite can't guess its name.

        Raises:
            OperationalError: If it was not allowed, or can't be loaded.
        """

    def serialize(self, *, name: str = "main") -> bytes:
        """Return a database as the bytes of a file (as `sqlite3`).

        Args:
            name: Which: ``"main"``, ``"temp"``, or an attached one.

        Returns:
            The bytes.

        Raises:
            OperationalError: If there is no such database.
        """

    def deserialize(self, data: Buffer | str, /, *, name: str = "main") -> None:
        """Put a database made of bytes in the place of another one (as `sqlite3`).

        Args:
            data: The bytes of a database.
            name: Which one is replaced.

        Raises:
            ProgrammingError: In a transaction, with unread rows, or with an open blob.
            BufferError: For a buffer that is not contiguous.
        """

    def blobopen(
        self, table: str, column: str, row: int, /, *, readonly: bool = False, name: str = "main"
    ) -> Blob:
        """Open a BLOB as a file (as `sqlite3`).

        Args:
            table: The table.
            column: The column.
            row: The rowid.
            readonly: Refuse writes.
            name: The database.

        Returns:
            The blob.

        Raises:
            OperationalError: If there is no such BLOB.
        """

    def backup(
        self,
        target: Connection,
        *,
        pages: int = -1,
        progress: Callable[[int, int, int], object] | None = None,
        name: str = "main",
        sleep: float = 0.25,
    ) -> None:
        """Copy a database into another connection's (as `sqlite3`).

        Args:
            target: Another connection of this module. What it had is overwritten.
            pages: How many to copy at a time; 0 or a negative number for all.
            progress: Told after each step SQLite's status, the pages that remain, and all pages. It
                may use the source, and not the target.
            name: The database to copy: ``"main"``, ``"temp"``, or an attached one.
            sleep: Seconds to wait where another connection has locked the source or the target.

        Raises:
            OperationalError: If the target is in a transaction, or a lock does not become free
                within the source's timeout.
            Exception: Whatever `progress` raises; the target is as it was.
        """

    def _backup(self, target: Connection, name: str) -> Any: ...
    def _finish(self, operation: Any) -> Any: ...
    def iterdump(self, *, filter: str | None = None) -> Iterator[str]:
        """Iterate over the SQL text that makes the database again, as Python 3.13 has it.

        Args:
            filter: A LIKE pattern for names; None for everything.

        Returns:
            The statements.
        """

@disjoint_base
class Cursor:
    """The rows of one statement at a time, for code that blocks (as `sqlite3.Cursor`)."""

    arraysize: int
    """Rows that `fetchmany` gives if it is not told how many."""

    row_factory: Any
    """What a row becomes, as the connection's attribute."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Self: ...
    def __init__(self, connection: Connection, /) -> None: ...
    @property
    def connection(self) -> Connection:
        """The connection."""

    @property
    def description(self) -> Description | None:
        """Each column as a tuple of its name and six times None; None without columns (PEP 249)."""

    @property
    def rowcount(self) -> int:
        """Rows changed by INSERT, UPDATE, DELETE and REPLACE; else -1 (as `sqlite3`)."""

    @property
    def lastrowid(self) -> int | None:
        """The rowid of the last row that was inserted; None before (as `sqlite3`)."""

    def execute(self, sql: str, parameters: Parameters | None = None, /) -> Self:
        """Execute one statement, as `Connection.execute` (as `sqlite3`).

        Args:
            sql: The statement.
            parameters: Values for its parameters: a sequence, a mapping for named ones, or None.

        Returns:
            The cursor itself.

        Raises:
            ProgrammingError: Also while another method of the cursor works.
            DatabaseError: As for `Connection.execute`.
        """

    def executemany(self, sql: str, seq_of_parameters: Iterable[Parameters], /) -> Self:
        """Execute one statement for each row, as `Connection.executemany` (as `sqlite3`).

        Args:
            sql: An INSERT, UPDATE, DELETE or REPLACE.
            seq_of_parameters: The rows.

        Returns:
            The cursor itself.

        Raises:
            DatabaseError: As for `Connection.executemany`.
        """

    def executescript(self, sql_script: str, /) -> Self:
        """Commit, then execute any number of statements (as `sqlite3`).

        Args:
            sql_script: The statements.

        Returns:
            The cursor itself.

        Raises:
            DatabaseError: As for `Connection.executescript`.
        """

    def fetchone(self) -> Any:
        """Fetch the next row (PEP 249).

        Returns:
            The row; None if no more are left.

        Raises:
            ProgrammingError: If the cursor or its connection is closed, or on the wrong thread.
            OperationalError: If reading on fails, after the rows before the error.
        """

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """Fetch the next rows (PEP 249).

        Args:
            size: How many; None for `arraysize`, a negative number for all.

        Returns:
            The rows; fewer at the end.

        Raises:
            DatabaseError: As for `fetchone`.
        """

    def fetchall(self) -> list[Any]:
        """Fetch all rows that are left (PEP 249).

        Returns:
            The rows.

        Raises:
            DatabaseError: As for `fetchone`.
        """

    def close(self) -> None:
        """End the statement, and refuse to be used from then on (as `sqlite3`)."""

    def setinputsizes(self, sizes: object, /) -> None:
        """Do nothing, as PEP 249 allows.

        Args:
            sizes: Ignored.
        """

    def setoutputsize(self, size: object, column: object = None, /) -> None:
        """Do nothing, as PEP 249 allows.

        Args:
            size: Ignored.
            column: Ignored.
        """

    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

@final
class Blob:
    """A BLOB or text of a table, read and written in place (as `sqlite3.Blob`)."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Self: ...
    def read(self, length: int = ..., /) -> bytes:
        """Read from the position on (as `sqlite3`).

        Args:
            length: How many bytes; a negative number, or nothing, for all that are left.

        Returns:
            The bytes.
        """

    def write(self, data: Buffer, /) -> None:
        """Write at the position (as `sqlite3`); the length stays.

        Args:
            data: The bytes.

        Raises:
            ValueError: For more bytes than are left.
        """

    def seek(self, offset: int, origin: int = 0, /) -> None:
        """Move the position (as `sqlite3`).

        Args:
            offset: By how many bytes.
            origin: From the start (0), the position (1) or the end (2).

        Raises:
            ValueError: For a place outside of the blob.
        """

    def tell(self) -> int:
        """Return the position."""

    def close(self) -> None:
        """Close it (as `sqlite3`)."""

    def __len__(self) -> int: ...
    def __contains__(self, _value: object, /) -> bool: ...
    def __getitem__(self, key: SupportsIndex | slice, /) -> Any: ...
    def __setitem__(self, key: SupportsIndex | slice, value: Any, /) -> None: ...
    def __delitem__(self, key: SupportsIndex | slice, /) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> Literal[False]: ...
