"""`create_client_sync`: what only code that blocks, and its threads, can meet."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from clients import Code, tuples

from aiolibsql.client import ClientSync, LibsqlError, TransactionSync, create_client_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.everywhere

# What a hang is told from, in seconds.
LONG = 20.0
SLOW = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) "
    "SELECT max(i) FROM n"
)


@pytest.fixture
def client(client_url: str) -> Iterator[ClientSync]:
    with create_client_sync(client_url) as made:
        made.execute("DROP TABLE IF EXISTS t")
        made.execute("CREATE TABLE t (x UNIQUE)")
        yield made


def xs(client: ClientSync) -> list[Any]:
    return [row[0] for row in client.execute("SELECT x FROM t ORDER BY x")]


def test_with_closes(client_url: str) -> None:
    with create_client_sync(client_url) as client:
        assert isinstance(client, ClientSync)
        with client.transaction() as transaction:
            assert isinstance(transaction, TransactionSync)
        assert transaction.closed
        assert not client.closed
    assert client.closed


def test_no_event_loop_and_no_thread_is_behind_it(client_url: str) -> None:
    program = textwrap.dedent(
        f"""
        import sys, threading
        from aiolibsql.client import create_client_sync
        with create_client_sync({client_url!r}) as client:
            client.execute("CREATE TABLE IF NOT EXISTS t (x)")
            client.batch(["INSERT INTO t VALUES (1)"])
            with client.transaction() as transaction:
                transaction.execute("SELECT 1")
                transaction.commit()
            assert threading.active_count() == 1
        assert not {{"asyncio", "trio", "anyio"}} & set(sys.modules)
        """
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=LONG)


def test_it_works_where_a_loop_runs(client: ClientSync) -> None:
    async def main() -> None:
        client.execute("INSERT INTO t VALUES (1)")

    asyncio.run(main())
    assert xs(client) == [1]


def test_threads_share_a_client(client: ClientSync) -> None:
    def write(number: int) -> None:
        if number % 3 == 0:
            client.execute("INSERT INTO t VALUES (?)", [number])
        elif number % 3 == 1:
            client.batch([("INSERT INTO t VALUES (?)", [number]), "SELECT max(x) FROM t"])
        else:
            with client.transaction() as transaction:
                transaction.execute("INSERT INTO t VALUES (?)", [number])
                transaction.commit()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(60)))
    assert xs(client) == list(range(60))


def test_threads_share_a_transaction(client: ClientSync) -> None:
    with client.transaction() as transaction, ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda number: transaction.execute("INSERT INTO t VALUES (?)", [number]), range(50)
            )
        )
        transaction.commit()
    assert xs(client) == list(range(50))


def test_call_does_not_wait_for_a_transaction_that_runs(client: ClientSync) -> None:
    with client.transaction() as transaction, ThreadPoolExecutor(1) as thread:
        running = thread.submit(transaction.execute, SLOW)
        assert xs(client) == []
        assert tuples(running.result(LONG)) == [(3000000,)]


def test_call_waits_for_the_lock_of_a_transaction(client: ClientSync) -> None:
    with ThreadPoolExecutor(1) as thread:
        with client.transaction() as transaction:
            transaction.execute("INSERT INTO t VALUES (1)")
            waiting = thread.submit(client.execute, "INSERT INTO t VALUES (2)")
            with pytest.raises(TimeoutError):
                waiting.result(0.1)
            transaction.commit()
        assert waiting.result(LONG).rows_affected == 1
    assert xs(client) == [1, 2]


def test_close_waits_for_the_calls_in_hand_and_refuses_those_that_wait(client: ClientSync) -> None:
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(client.execute, SLOW) for _ in range(4)]
        begun = threading.Event()
        calls[0].add_done_callback(lambda _: begun.set())
        assert begun.wait(LONG)
        client.close()
        for call in calls:
            error = call.exception(LONG)
            if error is not None:
                assert isinstance(error, LibsqlError)
                assert error.code == "CLIENT_CLOSED"
    with Code("CLIENT_CLOSED"):
        client.execute("SELECT 1")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interruption_frees_the_connection(file_url: str) -> None:
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "INSERT INTO t SELECT i FROM n"
    )
    program = textwrap.dedent(
        f"""
        import signal, threading
        from aiolibsql.client import LibsqlError, create_client_sync
        with create_client_sync({file_url!r}) as client:
            client.execute("CREATE TABLE t (x)")
            def interrupt():
                threading.Timer(0.2, signal.raise_signal, [{int(signal.SIGINT)}]).start()
            def batch(sql):
                client.batch(["INSERT INTO t VALUES (1)", sql])
            for call in (client.execute, batch):
                try:
                    interrupt()
                    call({endless!r})
                except KeyboardInterrupt:
                    print("interrupted")
            transaction = client.transaction()
            transaction.execute("INSERT INTO t VALUES (1)")
            try:
                interrupt()
                transaction.execute({endless!r})
            except KeyboardInterrupt:
                print("interrupted")
            try:
                transaction.execute("INSERT INTO t VALUES (2)")
            except LibsqlError as error:
                print(error.code)
            client.execute("INSERT INTO t VALUES (3)")
            print([row[0] for row in client.execute("SELECT x FROM t")])
        """
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=LONG,
    )
    assert done.stdout.split("\n") == ["interrupted"] * 3 + ["TRANSACTION_CLOSED", "[3]", ""]


def test_transaction_that_is_forgotten_is_told_of(client: ClientSync) -> None:
    def forget() -> None:
        client.transaction().execute("INSERT INTO t VALUES (1)")

    with pytest.warns(ResourceWarning):
        forget()
    client.execute("INSERT INTO t VALUES (2)")
    assert xs(client) == [2]
