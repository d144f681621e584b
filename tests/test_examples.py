"""The example programs do what they say, each started as a user would."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from programs import command, environment, load, run
from sqld import Sqld

import aiolibsql.dbapi

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
PAGE = (EXAMPLES / "index.md").read_text(encoding="utf-8")

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@contextmanager
def running(script: str, *args: str, cwd: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Give a program that runs on its own; what is left of it is killed."""
    process = subprocess.Popen(
        command(EXAMPLES / script, *args),
        cwd=cwd,
        env=environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a program's end and return its code and what else it has printed."""
    output, errors = process.communicate(timeout=40)
    return process.returncode, output, errors


def fetched(database: Path, query: str) -> list[Any]:
    with closing(aiolibsql.dbapi.connect(str(database))) as conn:
        return conn.execute(query).fetchall()


TABLES = "SELECT name FROM sqlite_master"


def test_page_has_every_example() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert set(re.findall(r"\]\((\w+\.py)\)", PAGE)) == scripts


def shown(script: str) -> list[str]:
    """Return the lines that the page says a program prints."""
    found = re.search(rf"{script}[^\n]*\n```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1].splitlines()


# The chat bot


def test_chat_bot_remembers_all_that_was_said(tmp_path: Path) -> None:
    lines = run(EXAMPLES / "chat_bot.py", cwd=tmp_path).splitlines()
    assert lines[:4] == shown("chat_bot.py")[:4]
    shared = re.fullmatch(r"(\d+) writes shared (\d+) commits", lines[4])
    assert shared is not None
    assert int(shared[1]) > int(shared[2]) > 0
    # It goes on with what it has.
    assert run(EXAMPLES / "chat_bot.py", cwd=tmp_path).startswith("2400 messages")


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop")
def test_chat_bot_runs_on_uvloop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uvloop = pytest.importorskip("uvloop")
    uvloop.run(load(EXAMPLES / "chat_bot.py").main(str(tmp_path / "chat.db")))
    assert capsys.readouterr().out.startswith("1200 messages in 4 rooms, 301 replies\n")


# The word server


def say(port: int, *requests: str) -> list[str]:
    """Send lines and return what comes back before the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall("".join(f"{request}\n" for request in requests).encode())
        client.shutdown(socket.SHUT_WR)
        with client.makefile(encoding="utf-8") as answers:
            return answers.read().splitlines()


@posix
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_word_server_answers_and_ends_by_a_signal(how: signal.Signals, tmp_path: Path) -> None:
    with running("word_server.py", "words.db", "0", cwd=tmp_path) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().removeprefix("listening on "))
        assert say(port, "SET blue the colour of the sky", "SET black no colour") == ["OK", "OK"]
        assert say(port, "GET blue", "GET red", "FIND bl", "FIND x", "QUIT", "GET blue") == [
            "the colour of the sky", "?", "black blue", "?",
        ]  # fmt: skip
        (refusal,) = say(port, "DROP everything")
        assert refusal.startswith("ERROR")
        with socket.create_connection(("127.0.0.1", port)) as endless:
            endless.sendall(b"x" * 5000)
            assert endless.recv(1) == b""
        with socket.create_connection(("127.0.0.1", port)) as idle:
            server.send_signal(how)
            assert ended(server) == (0, "ending\n", "")
            assert idle.recv(1) == b""


# The text search


def test_text_search_finds_the_pages_that_are_about_it(tmp_path: Path) -> None:
    expected = {
        "change the key of an encrypted file": ("Encrypted files", "Encryption"),
        "how many connections should a pool have": ("How many connections",),
        "a file that somebody else made": ("Files that somebody else made",),
    }
    printed = run(EXAMPLES / "text_search.py", *expected, cwd=tmp_path)
    best = re.findall(r"^(\S.*)\n  ([0-9.]+) (\S+\.md): (.*)$", printed, re.MULTILINE)
    assert [question for question, *_ in best] == list(expected)
    for question, distance, _, title in best:
        assert title in expected[question]
        assert float(distance) < 0.95
    # Distances change with each word that is written in the documentation.
    said = "\n".join(shown("text_search.py")[:2])
    assert re.sub(r"0\.\d+", "0.6", said) in re.sub(r"0\.\d+", "0.6", printed)
    distances = [float(distance) for distance in re.findall(r"^  (\S+)", printed, re.MULTILINE)]
    assert len(distances) == 9
    for question in range(3):
        found = distances[question * 3 : question * 3 + 3]
        assert found == sorted(found)


# The price board


def next_line(board: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read lines until one is wanted; the test's own limit ends it otherwise."""
    assert board.stdout is not None
    for line in board.stdout:
        if found := re.fullmatch(pattern, line.strip()):
            return found
    pytest.fail(f"it ended: {ended(board)}")


def at_server(server: Sqld, *statements: str) -> None:
    url = f"http://127.0.0.1:{server.port}"
    with closing(aiolibsql.dbapi.connect(url, autocommit=True)) as conn:
        for statement in statements:
            conn.execute(statement)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_price_board_serves_while_the_primary_is_down(
    runtime: str, program: str, tmp_path: Path
) -> None:
    assert program
    with Sqld() as server:
        at_server(
            server,
            "CREATE TABLE price (name TEXT PRIMARY KEY, cents INT)",
            "INSERT INTO price VALUES ('ink', 250), ('pen', 120)",
        )
        url = f"http://127.0.0.1:{server.port}"
        args = ("price_board.py", "prices.db", "0.05", runtime)
        with running(*args, cwd=tmp_path, DATABASE_URL=url) as board:
            next_line(board, r"ink 250, pen 120 \(up to date\)")
            server.kill()
            next_line(board, r"ink 250, pen 120 \(as of [0-9.]+ s ago, no server\)")
            # One that starts now has the file, too.
            board.send_signal(signal.SIGINT)
            assert ended(board)[0] == 0
        with running(*args, cwd=tmp_path, DATABASE_URL=url) as board:
            next_line(board, r"ink 250, pen 120 \(as it was left, no server\)")
            server.start()
            at_server(server, "UPDATE price SET cents = 99 WHERE name = 'pen'")
            next_line(board, r"ink 250, pen 99 \(up to date\)")
            board.send_signal(signal.SIGINT)
            code, _, errors = ended(board)
            assert (code, errors) == (0, "")


# The import


def write_people(path: Path, rows: int) -> None:
    lines = ['id,name,"quo""ted"', *(f'{i},"Ann, {i}",x' for i in range(rows))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_import_shows_its_progress(tmp_path: Path) -> None:
    write_people(tmp_path / "people.csv", 12_000)
    args = ("people.csv", "x.db", "people")
    done = subprocess.run(
        command(EXAMPLES / "import_csv.py", *args),
        cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=40, check=True,
    )  # fmt: skip
    assert done.stdout == "12000 rows are in people\n"
    shown = [line.strip() for line in re.split(r"[\r\n]+", done.stderr) if line.strip()]
    form = r"(\d+)%  ([\d,]+) rows  [\d,]+ rows/s  \d+ s left"
    steps = [re.fullmatch(form, line) for line in shown]
    assert [step and step[2] for step in steps] == ["5,000", "10,000", "12,000"]
    assert [step and int(step[1]) for step in steps] == [40, 82, 100]
    query = 'SELECT count(*), max(name), min("quo""ted") FROM people'
    assert fetched(tmp_path / "x.db", query) == [(12_000, "Ann, 9999", "x")]


def test_import_of_a_file_with_a_bad_line_leaves_nothing(tmp_path: Path) -> None:
    write_people(tmp_path / "people.csv", 12_000)
    with (tmp_path / "people.csv").open("a", encoding="utf-8") as file:
        file.write("1,2\n")
    with running("import_csv.py", "people.csv", "x.db", "people", cwd=tmp_path) as program:
        code, output, errors = ended(program)
    assert (code, output) == (1, "")
    assert errors.splitlines()[-1] == "line 12002: 2 values; nothing was imported"
    assert fetched(tmp_path / "x.db", TABLES) == []


@posix
def test_import_stopped_by_control_c_leaves_nothing(tmp_path: Path) -> None:
    # A pipe that does not end: the program is in the middle for certain.
    pipe = tmp_path / "people.csv"
    os.mkfifo(pipe)
    with running("import_csv.py", str(pipe), "x.db", "people", cwd=tmp_path) as program:
        with pipe.open("w", encoding="utf-8") as writer:
            writer.write("id,name\n" + "1,Ann\n" * 5000)
            writer.flush()
            assert program.stderr is not None
            assert program.stderr.read(1)  # progress: the first rows are in
            program.send_signal(signal.SIGINT)
        code, output, errors = ended(program)
    assert (code, output) == (1, "")
    assert errors.splitlines()[-1] == "stopped; nothing was imported"
    assert fetched(tmp_path / "x.db", TABLES) == []
