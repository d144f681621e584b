"""Transaction blocks: how they begin and end, what takes part, what is refused, how one is lost."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from blocks import KINDS, WRITERS, Kind, Outsider, block_of, insert, name_of, xs
from healthy import assert_healthy
from situations import BEGUN, ENDLESS_INSERT, NUMBERS, Attempt, attempt, count

import aiolibsql

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator

    from backends import Backend

Conn = aiolibsql.Connection[Any]
Tx = aiolibsql.Transaction[Any]

pytestmark = [pytest.mark.anyio, pytest.mark.everywhere, pytest.mark.every_runtime]

each_kind = pytest.mark.parametrize("kind", KINDS, ids=name_of)
each_writer = pytest.mark.parametrize("kind", WRITERS, ids=name_of)
through = pytest.mark.parametrize("by_name", [True, False], ids=["tx", "conn"])


@pytest.fixture(scope="module")
def outsider() -> Iterator[Outsider]:
    with Outsider() as process:
        yield process


@pytest.fixture
async def conn(backend: Backend) -> AsyncIterator[Conn]:
    """Return an autocommit connection that the end of the test has to find whole."""
    async with backend.connect(timeout=20, isolation_level=None) as connection:
        await connection.execute("CREATE TABLE t (x)")
        if not backend.is_hosted:
            await connection.execute("PRAGMA synchronous=OFF")
        yield connection
        if not connection.closed:
            await assert_healthy(connection)


@pytest.fixture
async def file_conn(file_backend: Backend) -> AsyncIterator[Conn]:
    """Return a connection to a file that another process may look at."""
    async with file_backend.connect(timeout=0.2, isolation_level=None) as connection:
        await connection.execute("CREATE TABLE t (x)")
        await connection.execute("PRAGMA synchronous=OFF")
        yield connection
        if not connection.closed:
            await assert_healthy(connection)


class TestEnds:
    @each_writer
    async def test_left_normally_commits(
        self, file_conn: Conn, file_backend: Backend, outsider: Outsider, kind: Kind
    ) -> None:
        async with block_of(file_conn, kind):
            await insert(file_conn, 1, 2)
            assert file_conn.in_transaction
        assert not file_conn.in_transaction
        assert outsider.rows(file_backend) == [1, 2]

    @each_writer
    async def test_left_by_an_exception_rolls_back_and_raises_it(
        self, file_conn: Conn, file_backend: Backend, outsider: Outsider, kind: Kind
    ) -> None:
        error = LookupError("mine")
        with pytest.raises(LookupError) as caught:
            async with block_of(file_conn, kind):
                await insert(file_conn, 1, 2)
                raise error
        assert caught.value is error
        assert not hasattr(error, "__notes__")
        assert not file_conn.in_transaction
        assert await xs(file_conn) == []
        assert outsider.rows(file_backend) == []

    @pytest.mark.parametrize("error", [None, LookupError()], ids=["normally", "exception"])
    async def test_force_rollback_rolls_back_whatever_happens(
        self, conn: Conn, error: Exception | None
    ) -> None:
        with pytest.raises(LookupError) if error else contextlib.nullcontext():
            async with conn.transaction(force_rollback=True):
                await insert(conn, 1)
                if error:
                    raise error
        assert not conn.in_transaction
        assert await xs(conn) == []

    async def test_failing_statement_that_is_caught_does_not_end_the_block(
        self, conn: Conn
    ) -> None:
        await conn.execute("CREATE UNIQUE INDEX once ON t (x)")
        async with conn.transaction() as tx:
            await insert(conn, 1)
            with pytest.raises(aiolibsql.IntegrityError):
                await insert(conn, 1)
            with pytest.raises(aiolibsql.OperationalError):
                await tx.execute("SELECT * FROM nowhere")
            await insert(tx, 2)
        assert await xs(conn) == [1, 2]

    @pytest.mark.parametrize("kind", [None, *WRITERS], ids=lambda kind: name_of(kind) or "inner")
    @pytest.mark.parametrize("way", ["execute", "batch", "executemany"])
    async def test_first_statement_that_cannot_be_parsed_does_not_end_the_block(
        self, conn: Conn, kind: Kind | None, way: str
    ) -> None:
        wrong: Awaitable[Any]
        async with contextlib.AsyncExitStack() as stack:
            if kind is None:
                kind = ("savepoint", None)
                await stack.enter_async_context(conn.transaction())
            with pytest.raises(LookupError):
                async with block_of(conn, kind):
                    if way == "execute":
                        wrong = conn.execute("selec 1")
                    elif way == "batch":
                        wrong = conn.batch(["SELECT 1", "selec 1"])
                    else:
                        wrong = conn.executemany("INSERT INTO t VALUES (?) where", [(1,)])
                    with pytest.raises(aiolibsql.OperationalError):
                        await wrong
                    assert conn.in_transaction
                    await insert(conn, 1)
                    raise LookupError
            async with block_of(conn, kind):
                with pytest.raises(aiolibsql.OperationalError):
                    await conn.execute("selec 1")
                await insert(conn, 2)
        assert await xs(conn) == [2]

    async def test_default_mode_is_immediate(self, file_conn: Conn, file_backend: Backend) -> None:
        async with (
            file_conn.transaction(),
            file_backend.second(timeout=0, isolation_level=None) as second,
        ):
            with pytest.raises(aiolibsql.TimeoutError):
                await second.begin("IMMEDIATE")
            assert await xs(second) == []

    @pytest.mark.parametrize(
        ("mode", "may_read", "may_write"),
        [
            ("DEFERRED", True, True),
            ("deferred", True, True),
            ("IMMEDIATE", True, False),
            ("Immediate", True, False),
            ("EXCLUSIVE", False, False),
            ("READ", True, True),
            ("read", True, True),
        ],
    )
    async def test_mode_decides_what_others_may_do(
        self,
        file_conn: Conn,
        file_backend: Backend,
        mode: Any,
        may_read: bool,
        may_write: bool,
    ) -> None:
        async with file_backend.second(timeout=0, isolation_level=None) as second:
            async with file_conn.transaction(mode):
                read, write = Attempt(), Attempt()
                await attempt(xs(second), read)
                await attempt(second.begin("IMMEDIATE"), write)
                assert (read.error is None, write.error is None) == (may_read, may_write)
                await second.rollback()
            await insert(second, 1)

    @each_kind
    async def test_empty_block_changes_nothing(self, conn: Conn, kind: Kind) -> None:
        before = conn.total_changes
        async with block_of(conn, kind) as tx:
            assert tx.in_transaction
        assert not conn.in_transaction
        assert conn.total_changes == before


WRITES = [
    "INSERT INTO t VALUES (1)",
    "DELETE FROM t",
    "UPDATE t SET x = 1 WHERE 0",
    "INSERT INTO t VALUES (1) RETURNING x",
    "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
    "CREATE TABLE u (x)",
    "PRAGMA user_version = 5",
]


class TestRead:
    @pytest.mark.parametrize("journal", ["WAL", "DELETE"])
    async def test_snapshot_is_taken_at_once(
        self, file_conn: Conn, file_backend: Backend, journal: str
    ) -> None:
        await file_conn.execute(f"PRAGMA journal_mode={journal}")
        await insert(file_conn, 1)
        async with file_backend.second(timeout=0.1, isolation_level=None) as second:
            async with file_conn.transaction("READ") as tx:
                commit = Attempt()
                await attempt(insert(second, 2), commit)
                # Without a log a reader keeps writers from committing.
                assert isinstance(commit.error, aiolibsql.TimeoutError) == (journal == "DELETE")
                assert await xs(tx) == [1]
                assert await xs(file_conn) == [1]
            assert await xs(file_conn) == ([1, 2] if journal == "WAL" else [1])

    @through
    async def test_refuses_to_write(self, conn: Conn, by_name: bool) -> None:
        async with conn.transaction("READ") as tx:
            connection: Conn = tx if by_name else conn
            for sql in WRITES:
                for method in ("execute", "fetch_all"):
                    with pytest.raises(aiolibsql.ProgrammingError, match=r"'READ'\) at"):
                        await getattr(connection, method)(sql)
                        pytest.fail(f"{sql} was not refused")
            assert await xs(conn) == []
        assert await xs(conn) == []
        assert await conn.fetch_scalar("PRAGMA user_version") == 0

    async def test_refuses_executemany_and_writes_of_inner_blocks(self, conn: Conn) -> None:
        async with conn.transaction("READ"):
            with pytest.raises(aiolibsql.ProgrammingError):
                await conn.executemany("INSERT INTO t VALUES (?)", [(1,)])
            async with conn.transaction("IMMEDIATE"):
                with pytest.raises(aiolibsql.ProgrammingError):
                    await insert(conn, 1)
                assert await xs(conn) == []
            async with conn.savepoint() as savepoint:
                with pytest.raises(aiolibsql.ProgrammingError):
                    await insert(savepoint, 1)
        await insert(conn, 2)
        assert await xs(conn) == [2]


class TestNested:
    @pytest.mark.parametrize("inner", KINDS[:4], ids=name_of)
    @each_writer
    async def test_inner_is_undone_and_outer_kept(
        self, conn: Conn, kind: Kind, inner: Kind
    ) -> None:
        async with block_of(conn, kind) as outer:
            await insert(conn, "a")
            with contextlib.suppress(LookupError):
                async with block_of(conn, inner):
                    await insert(conn, "undone")
                    await insert(outer, "undone too")
                    raise LookupError
            await insert(conn, "b")
            async with block_of(outer, inner):
                await insert(conn, "c")
                async with block_of(conn, inner) as innermost:
                    await insert(innermost, "d")
            assert conn.in_transaction
        assert not conn.in_transaction
        assert await xs(conn) == ["a", "b", "c", "d"]

    async def test_outer_undone_takes_the_inner_along(self, conn: Conn) -> None:
        with contextlib.suppress(LookupError):
            async with conn.transaction():
                async with conn.transaction():
                    await insert(conn, 1)
                raise LookupError
        assert await xs(conn) == []

    async def test_forced_rollback_of_an_inner_block_keeps_the_outer(self, conn: Conn) -> None:
        async with conn.transaction():
            await insert(conn, 1)
            async with conn.transaction(force_rollback=True):
                await insert(conn, 2)
        assert await xs(conn) == [1]

    async def test_thirty_deep(self, conn: Conn) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for depth in range(30):
                await stack.enter_async_context(
                    conn.transaction() if depth % 2 else conn.savepoint()
                )
                await insert(conn, depth)
        assert await xs(conn) == list(range(30))


NAMES = [None, "s", "two words", 'a"b', '"', "a'b", "é☃", "select", "x; DROP TABLE t", "--", ""]


class TestSavepoint:
    @pytest.mark.parametrize("is_inner", [False, True], ids=["outermost", "inner"])
    async def test_any_name(self, conn: Conn, is_inner: bool) -> None:
        for name in NAMES:
            async with contextlib.AsyncExitStack() as stack:
                if is_inner:
                    await stack.enter_async_context(conn.transaction())
                async with conn.savepoint(name):
                    await insert(conn, 1)
                    with contextlib.suppress(LookupError):
                        async with conn.savepoint(name):
                            await insert(conn, 2)
                            raise LookupError
                    async with conn.savepoint(name):
                        await insert(conn, 3)
            assert not conn.in_transaction, name
            assert await xs(conn) == [1, 3], name
            await conn.execute("DELETE FROM t")

    async def test_name_with_a_null_character_is_refused(self, conn: Conn) -> None:
        with pytest.raises(ValueError, match="null character"):
            conn.savepoint("a\0b")
        with pytest.raises(TypeError):
            conn.savepoint(5)  # type: ignore[arg-type]

    async def test_name_is_one_for_rollback_to(self, conn: Conn) -> None:
        async with conn.savepoint("mine"):
            await insert(conn, 1)
            await conn.execute("ROLLBACK TO mine")
            await insert(conn, 2)
        assert await xs(conn) == [2]

    async def test_savepoints_by_sql_inside_a_block(self, conn: Conn) -> None:
        async with conn.transaction():
            await conn.execute("SAVEPOINT a")
            await insert(conn, 1)
            await conn.execute("ROLLBACK TO a")
            await conn.execute("RELEASE a")
            await conn.execute("SAVEPOINT left_open")
            await insert(conn, 2)
        assert not conn.in_transaction
        assert await xs(conn) == [2]

    async def test_left_over_savepoint_of_the_same_name_does_not_keep_the_transaction_open(
        self, conn: Conn
    ) -> None:
        async with conn.savepoint("s"):
            await insert(conn, 1)
            await conn.execute("SAVEPOINT s")
            await insert(conn, 2)
        assert not conn.in_transaction, "the block was left, and its transaction is open"
        assert await xs(conn) == [1, 2]

    async def test_release_of_the_blocks_own_savepoint_is_not_called_a_rollback(
        self, file_conn: Conn, file_backend: Backend, outsider: Outsider
    ) -> None:
        released, left = Attempt(), Attempt()

        async def block() -> None:
            async with file_conn.savepoint("s"):
                await insert(file_conn, 1)
                await attempt(file_conn.execute("RELEASE s"), released)

        await attempt(block(), left)
        # Refused as COMMIT is, or done: but what was committed was not rolled back.
        is_rolled_back = "rolled back" in str(left.error)
        assert outsider.rows(file_backend) == ([] if is_rolled_back else [1])

    @pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "undone"])
    @pytest.mark.parametrize("mode", ["begin", "implicit", "pep 249"])
    async def test_in_an_open_transaction_is_part_of_it(
        self, backend: Backend, mode: str, is_kept: bool
    ) -> None:
        options: dict[str, Any] = {"pep 249": {"autocommit": False}, "implicit": {}}.get(
            mode, {"isolation_level": None}
        )
        async with backend.connect(**options) as conn:
            await conn.execute("CREATE TABLE t (x)")
            await conn.commit()
            if mode == "begin":
                await conn.begin()
            await insert(conn, 1)
            assert conn.in_transaction
            with contextlib.suppress(LookupError):
                async with conn.savepoint():
                    await insert(conn, 2)
                    with pytest.raises(aiolibsql.ProgrammingError):
                        await conn.commit()
                    if not is_kept:
                        raise LookupError
            assert conn.in_transaction
            assert await xs(conn) == ([1, 2] if is_kept else [1])
            await insert(conn, 3)
            await conn.rollback()
            assert await xs(conn) == []
            await assert_healthy(conn)


class TestOpenTransaction:
    @pytest.mark.parametrize("mode", ["begin", "implicit"])
    async def test_transaction_is_refused_and_leaves_the_open_one_alone(
        self, backend: Backend, mode: str
    ) -> None:
        async with backend.connect() as conn:
            await conn.execute("CREATE TABLE t (x)")
            if mode == "begin":
                await conn.begin()
            await insert(conn, 1)
            for kind in (*KINDS[:2], *KINDS[3:]):
                with pytest.raises(aiolibsql.ProgrammingError, match="a transaction is open"):
                    async with block_of(conn, kind):
                        pytest.fail("it was entered")
            assert conn.in_transaction
            await conn.commit()
            assert await xs(conn) == [1]
            async with conn.transaction():
                await insert(conn, 2)
            await assert_healthy(conn)

    @pytest.mark.parametrize("before", ["nothing", "read"])
    @pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "undone"])
    async def test_empty_one_of_autocommit_false_gives_way(
        self, backend: Backend, before: str, is_kept: bool
    ) -> None:
        async with backend.connect(autocommit=False) as conn:
            await conn.execute("CREATE TABLE t (x)")
            await conn.commit()
            if before == "read":
                assert await xs(conn) == []
            for kind in KINDS[:2]:
                with contextlib.suppress(LookupError):
                    async with block_of(conn, kind):
                        await insert(conn, 1)
                        if not is_kept:
                            raise LookupError
                assert conn.in_transaction, "PEP 249 wants one open"
                await conn.rollback()
                assert conn.in_transaction
            assert await xs(conn) == ([1, 1] if is_kept else [])
            await assert_healthy(conn)

    async def test_written_one_of_autocommit_false_is_refused(self, backend: Backend) -> None:
        async with backend.connect(autocommit=False) as conn:
            await conn.execute("CREATE TABLE t (x)")
            await conn.commit()
            await insert(conn, 1)
            with pytest.raises(aiolibsql.ProgrammingError, match="a transaction is open"):
                async with conn.transaction():
                    pytest.fail("it was entered")
            assert await xs(conn) == [1]
            await conn.commit()
            async with conn.transaction("READ"):
                assert await xs(conn) == [1]
            assert conn.in_transaction
            await assert_healthy(conn)

    async def test_busy_begin_under_autocommit_false_leaves_a_transaction_open(
        self, file_backend: Backend, outsider: Outsider
    ) -> None:
        async with file_backend.connect(autocommit=False, timeout=0.05) as conn:
            await conn.execute("CREATE TABLE t (x)")
            await conn.commit()
            outsider.lock(file_backend)
            with pytest.raises(aiolibsql.TimeoutError):
                async with conn.transaction():
                    pytest.fail("it was entered")
            assert conn.in_transaction
            outsider.release()
            async with conn.transaction():
                await insert(conn, 1)
            assert await xs(conn) == [1]


class TestStatements:
    @through
    async def test_helpers_take_part(self, conn: Conn, by_name: bool) -> None:
        async with conn.transaction(force_rollback=True) as tx:
            connection: Conn = tx if by_name else conn
            assert await connection.execute_insert("INSERT INTO t VALUES (1)") == (1,)
            cursor = await connection.execute("INSERT INTO t VALUES (?)", (2,))
            assert cursor.rowcount == 1
            assert await connection.execute_fetchall("SELECT x FROM t") == [(1,), (2,)]
            assert await connection.fetch_all("SELECT x FROM t") == [(1,), (2,)]
            assert await connection.fetch_one("SELECT x FROM t") == (1,)
            assert await connection.fetch_optional("SELECT x FROM t WHERE x > 1") == (2,)
            assert await connection.fetch_optional("SELECT x FROM t WHERE x > 2") is None
            assert await connection.fetch_scalar("SELECT max(x) FROM t") == 2
            assert await connection.fetch_blob("SELECT x'00' FROM t") == b"\0"
            with pytest.raises(aiolibsql.DatabaseError):
                await connection.fetch_one("SELECT x FROM t WHERE x > 2")
            returned = "INSERT INTO t VALUES (3) RETURNING x"
            assert await connection.fetch_all(returned) == [(3,)]
            assert connection.total_changes == conn.total_changes == 3
        assert await xs(conn) == []

    @through
    async def test_cursors_and_iteration_take_part(self, conn: Conn, by_name: bool) -> None:
        async with conn.transaction(force_rollback=True) as tx:
            connection: Conn = tx if by_name else conn
            many = f"INSERT INTO t {NUMBERS} SELECT i FROM n LIMIT 500"
            async with connection.cursor() as cursor:
                assert cursor.connection is conn
                await cursor.execute(many)
                await cursor.execute("SELECT x FROM t")
                assert await cursor.fetchone() == (1,)
                assert await cursor.fetchmany(2) == [(2,), (3,)]
                assert len(await cursor.fetchall()) == 497
                await cursor.executemany("INSERT INTO t VALUES (?)", [(-1,), (-2,)])
                assert cursor.rowcount == 2
            async with connection.execute("SELECT x FROM t WHERE x > 0") as cursor:
                assert cursor.connection is conn
                assert [x async for (x,) in cursor] == list(range(1, 501))
        assert await xs(conn) == []

    @through
    @pytest.mark.parametrize("is_async", [False, True], ids=["list", "async iterable"])
    async def test_executemany_is_atomic_inside(
        self, conn: Conn, by_name: bool, is_async: bool
    ) -> None:
        await conn.execute("CREATE UNIQUE INDEX once ON t (x)")

        async def stream(values: list[int]) -> AsyncGenerator[tuple[int], None]:
            for value in values:
                yield (value,)
                await anyio.lowlevel.checkpoint()

        def rows(*values: int) -> Any:
            return stream(list(values)) if is_async else [(value,) for value in values]

        sql = "INSERT INTO t VALUES (?)"
        async with conn.transaction() as tx:
            connection: Conn = tx if by_name else conn
            await connection.executemany(sql, rows(1, 2))
            with pytest.raises(aiolibsql.IntegrityError):
                await connection.executemany(sql, rows(3, 4, 1))
            assert await xs(conn) == [1, 2]
            await connection.executemany(sql, rows(5))
        assert await xs(conn) == [1, 2, 5]

    async def test_cursor_made_before_takes_part_inside(self, conn: Conn) -> None:
        cursor = conn.cursor()
        async with conn.transaction(force_rollback=True):
            await cursor.execute("INSERT INTO t VALUES (1)")
            await cursor.execute("SELECT x FROM t")
            assert await cursor.fetchall() == [(1,)]
        await cursor.execute("SELECT x FROM t")
        assert await cursor.fetchall() == []

    async def test_rows_that_are_left_can_be_read_after_a_commit(self, conn: Conn) -> None:
        async with conn.transaction() as tx:
            cursor = await tx.execute(f"{NUMBERS} SELECT i FROM n LIMIT 1000")
        assert await cursor.fetchall() == [(i,) for i in range(1, 1001)]

    async def test_transaction_is_a_connection_with_its_settings(self, conn: Conn) -> None:
        async with conn.transaction() as tx:
            assert isinstance(tx, aiolibsql.Connection)
            assert isinstance(tx, aiolibsql.Transaction)
            assert tx.connection is conn
            assert tx.isolation_level is None
            assert not tx.closed
            tx.row_factory = aiolibsql.Row
            assert conn.row_factory is aiolibsql.Row
            assert (await tx.fetch_one("SELECT 1 AS a"))["a"] == 1
            conn.row_factory = None
            assert await tx.fetch_one("SELECT 1") == (1,)
            async with tx.savepoint() as inner:
                assert inner.connection is conn
            assert "transaction('IMMEDIATE')" in repr(tx)
            assert __file__ in repr(tx)


async def executed(connection: Conn, sql: str) -> None:
    await connection.execute(sql)


def set_level(connection: Conn) -> Any:
    connection.isolation_level = "DEFERRED"


def set_mode(connection: Conn) -> Any:
    connection.autocommit = True


REFUSED: dict[str, Callable[[Conn], Any]] = {
    "commit": lambda conn: conn.commit(),
    "rollback": lambda conn: conn.rollback(),
    "begin": lambda conn: conn.begin(),
    "executescript": lambda conn: conn.executescript("SELECT 1"),
    "executescript of a cursor": lambda conn: conn.cursor().executescript("SELECT 1"),
    "set_autocommit": lambda conn: conn.set_autocommit(True),
    "isolation_level": set_level,
    "autocommit": set_mode,
    **{
        sql: lambda conn, sql=sql: conn.execute(sql)  # type: ignore[misc]
        for sql in (
            "COMMIT",
            "/* the */ commit transaction",
            "END",
            "ROLLBACK",
            "BEGIN",
            "BEGIN IMMEDIATE",
        )
    },
}


class TestRefusals:
    @through
    @pytest.mark.parametrize("is_inner", [False, True], ids=["outermost", "inner"])
    async def test_what_would_end_the_transaction_is_refused_and_the_block_goes_on(
        self, conn: Conn, by_name: bool, is_inner: bool
    ) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if is_inner:
                await stack.enter_async_context(conn.transaction())
            async with conn.transaction() as tx:
                for name, use in REFUSED.items():
                    await insert(conn, name)
                    with pytest.raises(aiolibsql.ProgrammingError):
                        operation = use(tx if by_name else conn)
                        if operation is not None:
                            await operation
                        pytest.fail(f"{name} was not refused")
                    assert conn.in_transaction
        assert await xs(conn) == list(REFUSED)
        assert conn.isolation_level is None
        assert conn.autocommit == aiolibsql.LEGACY_TRANSACTION_CONTROL

    @pytest.mark.parametrize("method", ["close", "stop"])
    async def test_closing_the_transaction_is_refused(self, conn: Conn, method: str) -> None:
        async with conn.transaction() as tx:
            await insert(conn, 1)
            with pytest.raises(aiolibsql.ProgrammingError, match=rf"{method}\(\)"):
                await getattr(tx, method)()
            assert not conn.closed
        assert await xs(conn) == [1]

    async def test_unknown_mode_is_refused_at_the_call(self, conn: Conn) -> None:
        for mode in ("", "WRITE", "IMMEDIATE; DROP TABLE t"):
            with pytest.raises(ValueError, match="mode must be"):
                conn.transaction(mode)  # type: ignore[arg-type]

    async def test_transaction_is_not_awaited(self, conn: Conn) -> None:
        with pytest.raises(TypeError, match="async with"):
            await conn.transaction()
        assert not conn.in_transaction

    @each_kind
    async def test_second_entry_is_refused(self, conn: Conn, kind: Kind) -> None:
        tx = block_of(conn, kind)
        async with tx:
            with pytest.raises(aiolibsql.ProgrammingError, match="only once"):
                await tx.__aenter__()
            assert conn.in_transaction
        with pytest.raises(aiolibsql.ProgrammingError, match="only once"):
            async with tx:
                pytest.fail("it was entered")
        assert not conn.in_transaction

    async def test_use_before_entry_and_after_the_end_is_refused(self, conn: Conn) -> None:
        tx = conn.transaction()
        cursor = tx.cursor()
        for why in ("was not entered", "has ended"):
            uses: tuple[Callable[[], Awaitable[Any]], ...] = (
                lambda: tx.execute("INSERT INTO t VALUES (1)"),
                lambda: tx.fetch_all("SELECT 1"),
                lambda: tx.executemany("INSERT INTO t VALUES (?)", [(1,)]),
                lambda: tx.executescript("INSERT INTO t VALUES (1)"),
                lambda: cursor.execute("INSERT INTO t VALUES (1)"),
                tx.commit,
                tx.begin,
                lambda: tx.transaction().__aenter__(),
                lambda: tx.savepoint().__aenter__(),
            )
            for use in uses:
                with pytest.raises(aiolibsql.ProgrammingError, match=why):
                    await use()
            if why == "was not entered":
                async with tx:
                    pass
        assert await xs(conn) == []
        assert not conn.in_transaction

    async def test_block_of_a_connection_that_is_not_open_is_refused(
        self, backend: Backend
    ) -> None:
        conn = backend.connect()
        with pytest.raises(aiolibsql.ConnectionClosedError):
            async with conn.transaction():
                pytest.fail("it was entered")
        async with conn:
            await assert_healthy(conn)
        with pytest.raises(aiolibsql.ConnectionClosedError):
            async with conn.savepoint():
                pytest.fail("it was entered")


class TestFailingCommit:
    @each_writer
    async def test_deferred_foreign_key_is_rolled_back(
        self, file_conn: Conn, file_backend: Backend, outsider: Outsider, kind: Kind
    ) -> None:
        await file_conn.execute("PRAGMA foreign_keys=ON")
        await file_conn.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        reference = "id REFERENCES parent DEFERRABLE INITIALLY DEFERRED"
        await file_conn.execute(f"CREATE TABLE child ({reference})")
        with pytest.raises(aiolibsql.IntegrityError, match="FOREIGN KEY"):
            async with block_of(file_conn, kind):
                await insert(file_conn, 1)
                await file_conn.execute("INSERT INTO child VALUES (5)")
        assert not file_conn.in_transaction
        assert await count(file_conn, "child") == 0
        assert outsider.rows(file_backend) == []
        async with block_of(file_conn, kind):
            await file_conn.execute("INSERT INTO child VALUES (5)")
            await file_conn.execute("INSERT INTO parent VALUES (5)")
        assert await count(file_conn, "child") == 1
        await file_conn.execute("PRAGMA foreign_keys=OFF")

    @each_writer
    async def test_time_out_of_a_commit_is_rolled_back(
        self, file_conn: Conn, file_backend: Backend, outsider: Outsider, kind: Kind
    ) -> None:
        outsider.read(file_backend)
        with pytest.raises(aiolibsql.TimeoutError):
            async with block_of(file_conn, kind):
                await insert(file_conn, 1)
        assert not file_conn.in_transaction
        outsider.release()
        assert outsider.rows(file_backend) == []
        async with block_of(file_conn, kind):
            await insert(file_conn, 2)
        assert outsider.rows(file_backend) == [2]


async def conflict(conn: Conn, _: Any) -> None:
    await conn.execute("INSERT OR ROLLBACK INTO u VALUES (1)")


async def trigger(conn: Conn, _: Any) -> None:
    await conn.execute("INSERT INTO guarded VALUES (1)")


async def deadline(conn: Conn, _: Any) -> None:
    await conn.execute(ENDLESS_INSERT, timeout=BEGUN)


def ended(outcome: Attempt) -> bool:
    return outcome.error is not None


async def interrupted(conn: Conn, root: Conn) -> None:
    outcome = Attempt()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt, conn.execute(ENDLESS_INSERT), outcome)
        while not ended(outcome):
            await anyio.sleep(0.002)
            await root.interrupt()
    assert outcome.error is not None
    raise outcome.error


async def many(conn: Conn, _: Any) -> None:
    await conn.executemany("INSERT OR ROLLBACK INTO u VALUES (?)", [(2,), (1,)])


LOSSES: dict[str, tuple[Callable[[Conn, Conn], Awaitable[None]], type[aiolibsql.Error]]] = {
    "OR ROLLBACK": (conflict, aiolibsql.IntegrityError),
    "RAISE(ROLLBACK)": (trigger, aiolibsql.IntegrityError),
    "timeout=": (deadline, aiolibsql.TimeoutError),
    "interrupt()": (interrupted, aiolibsql.OperationalError),
    "executemany": (many, aiolibsql.IntegrityError),
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@pytest.fixture
async def losing(file_conn: Conn) -> Conn:
    await file_conn.execute("CREATE TABLE u (x UNIQUE)")
    await file_conn.execute("INSERT INTO u VALUES (1)")
    await file_conn.execute("CREATE TABLE guarded (x)")
    await file_conn.execute(
        "CREATE TRIGGER guard BEFORE INSERT ON guarded BEGIN SELECT raise(ROLLBACK, 'no'); END"
    )
    return file_conn


class TestLost:
    @each_loss
    @each_writer
    async def test_every_statement_raises_and_so_does_leaving_normally(
        self, losing: Conn, file_backend: Backend, outsider: Outsider, kind: Kind, loss: Any
    ) -> None:
        lose, error_class = loss
        gone = "the transaction was rolled back"
        with pytest.raises(aiolibsql.OperationalError, match=gone):
            async with block_of(losing, kind) as tx:
                await insert(losing, 1)
                with pytest.raises(error_class):
                    await lose(tx, losing)
                for connection in (losing, tx, losing):
                    for use in (
                        insert(connection, 2),
                        xs(connection),
                        connection.executemany("INSERT INTO t VALUES (?)", [(2,)]),
                        connection.savepoint().__aenter__(),
                    ):
                        with pytest.raises(aiolibsql.OperationalError, match=gone):
                            await use
                assert outsider.rows(file_backend) == []
        assert not losing.in_transaction
        await insert(losing, 3)
        assert outsider.rows(file_backend) == [3]

    @each_loss
    @each_writer
    async def test_leaving_by_the_exception_does_not_hide_it(
        self, losing: Conn, file_backend: Backend, outsider: Outsider, kind: Kind, loss: Any
    ) -> None:
        lose, error_class = loss
        with pytest.raises(error_class) as caught:
            async with block_of(losing, kind) as tx:
                await insert(losing, 1)
                await lose(tx, losing)
        assert "the transaction was rolled back" not in str(caught.value)
        await insert(losing, 3)
        assert outsider.rows(file_backend) == [3]

    @each_loss
    async def test_lost_in_an_inner_block_loses_the_outer_too(
        self, losing: Conn, file_backend: Backend, outsider: Outsider, loss: Any
    ) -> None:
        lose, error_class = loss
        with pytest.raises(aiolibsql.OperationalError, match="the transaction was rolled back"):
            async with losing.transaction():
                await insert(losing, 1)
                with pytest.raises(error_class):
                    async with losing.savepoint() as inner:
                        await insert(losing, 2)
                        await lose(inner, losing)
                with pytest.raises(aiolibsql.OperationalError, match="rolled back"):
                    await insert(losing, 3)
                assert outsider.rows(file_backend) == []
        await insert(losing, 4)
        assert outsider.rows(file_backend) == [4]

    async def test_bare_transaction_around_a_savepoint_is_reported_once_more(
        self, losing: Conn
    ) -> None:
        gone = "the transaction was rolled back"
        await losing.begin()
        await insert(losing, 1)
        with pytest.raises(aiolibsql.IntegrityError):
            async with losing.savepoint():
                await conflict(losing, losing)
        with pytest.raises(aiolibsql.OperationalError, match=gone):
            await insert(losing, 2)
        assert not losing.in_transaction
        assert await xs(losing) == []

    async def test_lost_under_autocommit_false_leaves_a_new_transaction(
        self, file_backend: Backend
    ) -> None:
        async with file_backend.connect(autocommit=False) as conn:
            await conn.execute("CREATE TABLE t (x UNIQUE)")
            await conn.commit()
            with pytest.raises(aiolibsql.IntegrityError):
                async with conn.transaction():
                    await insert(conn, 1)
                    await conn.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
            assert conn.in_transaction
            await insert(conn, 2)
            await conn.rollback()
            assert await xs(conn) == []

    async def test_others_that_wait_are_not_told(self, losing: Conn) -> None:
        outside = Attempt()
        is_lost = anyio.Event()

        async def block() -> None:
            with contextlib.suppress(aiolibsql.IntegrityError):
                async with losing.transaction() as tx:
                    tasks_outside.set()
                    await is_lost.wait()
                    await conflict(tx, losing)

        tasks_outside = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(block)
            await tasks_outside.wait()
            tasks.start_soon(attempt, insert(losing, "outside"), outside)
            is_lost.set()
        assert outside.error is None
        assert await xs(losing) == ["outside"]


class TestClose:
    @pytest.mark.parametrize("method", ["close", "stop"])
    async def test_inside_rolls_back_and_leaving_normally_raises(
        self, file_conn: Conn, file_backend: Backend, outsider: Outsider, method: str
    ) -> None:
        with pytest.raises(aiolibsql.ConnectionClosedError):
            async with file_conn.transaction() as tx:
                await insert(file_conn, 1)
                with pytest.warns(ResourceWarning, match="uncommitted"):
                    await getattr(file_conn, method)()
                with pytest.raises(aiolibsql.ConnectionClosedError):
                    await insert(tx, 2)
        assert outsider.rows(file_backend) == []

    async def test_connection_closed_inside_leaves_the_users_exception_as_it_is(
        self,
        file_conn: Conn,
        file_backend: Backend,
        outsider: Outsider,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        error = LookupError("mine")
        with (
            caplog.at_level(logging.WARNING, "aiolibsql"),
            pytest.raises(LookupError) as caught,
        ):
            async with file_conn.transaction():
                await insert(file_conn, 1)
                with pytest.warns(ResourceWarning, match="uncommitted"):
                    await file_conn.close()
                raise error
        # What was to be rolled back went with the connection: nothing to add.
        assert caught.value is error
        assert not hasattr(error, "__notes__")
        assert [record for record in caplog.records if record.name.startswith("aiolibsql")] == []
        assert outsider.rows(file_backend) == []

    # The connection tells of what it threw away when it is dropped.
    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    async def test_async_with_of_the_connection_left_inside_a_block_closes_and_rolls_back(
        self, file_backend: Backend, outsider: Outsider
    ) -> None:
        conn = file_backend.connect(isolation_level=None)
        with pytest.raises(aiolibsql.ProgrammingError, match=r"commit\(\) can't be used inside"):
            async with conn:
                await conn.execute("CREATE TABLE t (x)")
                tx = conn.transaction()
                await tx.__aenter__()
                await insert(tx, 1)
        assert conn.closed
        assert outsider.rows(file_backend) == []
