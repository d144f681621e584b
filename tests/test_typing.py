"""Types: what a checker makes of the package, and whether the stub describes all of it."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import aiolibsql
from aiolibsql import _aiolibsql, client, dbapi

PACKAGE = Path(aiolibsql.__file__).parent

# What a checker has to infer, and what it has to refuse.

PRELUDE = """
import asyncio, sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from typing import Any
from typing_extensions import assert_type
import aiolibsql
import aiolibsql.client as lc
from aiolibsql import Connection, Cursor, Row, connect
from aiolibsql._aiolibsql import Operation

Tuple = tuple[Any, ...]

def as_dict(cursor: Cursor[Any], row: Tuple) -> dict[str, Any]: ...
def use(value: object) -> None: ...
async def rows() -> AsyncIterator[tuple[int]]: yield (1,)
async def hook(conn: Connection[Any]) -> None: ...
class MyConnection(Connection[Row]): ...
class MyCursor(Cursor[Row]): ...
class Point:
    def __init__(self, x: int, y: int) -> None: ...

async def cases(
    conn: Connection, named: Connection[Row], cursor: Cursor[Row], numbers: list[int],
    client: lc.Client, sync: lc.ClientSync, rs: lc.ResultSet,
) -> None:
"""

INFERRED = {
    'connect(":memory:")': "Connection[Tuple]",
    'connect(":memory:", row_factory=None)': "Connection[Tuple]",
    'connect(":memory:", row_factory=Row)': "Connection[Row]",
    'connect(":memory:", row_factory=sqlite3.Row)': "Connection[Row]",
    'connect(":memory:", row_factory=as_dict)': "Connection[dict[str, Any]]",
    'connect(":memory:", row_factory=aiolibsql.dict_row)': "Connection[dict[str, Any]]",
    'connect(":memory:", row_factory=aiolibsql.tuple_row)': "Connection[Tuple]",
    'connect(":memory:", row_factory=aiolibsql.class_row(Point))': "Connection[Point]",
    'connect(":memory:", row_factory=lambda cursor, row: len(row))': "Connection[int]",
    'connect(":memory:", factory=MyConnection)': "MyConnection",
    'connect(b"x", 1, None, pragmas={"user_version": 1}, init_hook=hook)': "Connection[Tuple]",
    'connect("x", autocommit=aiolibsql.LEGACY_TRANSACTION_CONTROL)': "Connection[Tuple]",
    'Connection(":memory:")': "Connection[Tuple]",
    'Connection(":memory:", row_factory=Row)': "Connection[Row]",
    "conn": "Connection[Tuple]",
    "await named": "Connection[Row]",
    "named.execute('')": "Operation[Cursor[Row]]",
    "await named.execute('', (1,))": "Cursor[Row]",
    "await named.execute('', {'a': 1}, timeout=1)": "Cursor[Row]",
    "await named.executemany('', [(1,), {'a': 1}])": "Cursor[Row]",
    "await named.executemany('', rows())": "Cursor[Row]",
    "await named.executescript('')": "Cursor[Row]",
    "await named.execute_insert('')": "tuple[int]",
    "await named.execute_fetchall('')": "list[Row]",
    "await named.fetch_all('')": "list[Row]",
    "await conn.fetch_all('')": "list[Tuple]",
    "await named.fetch_one('')": "Row",
    "await named.fetch_optional('')": "Row | None",
    "await named.fetch_scalar('')": "Any",
    "named.commit()": "Operation[None]",
    "conn.stop()": "Operation[None]",
    "named.cursor()": "Cursor[Row]",
    "named.cursor(MyCursor)": "MyCursor",
    "await named.cursor()": "Cursor[Row]",
    "Cursor(named)": "Cursor[Row]",
    "await cursor.execute('')": "Cursor[Row]",
    "await MyCursor(named).execute('')": "MyCursor",
    "await cursor.fetchone()": "Row | None",
    "await cursor.fetchmany(2)": "list[Row]",
    "await cursor.fetchall()": "list[Row]",
    "[row async for row in cursor]": "list[Row]",
    "cursor.connection": "Connection[Row]",
    "cursor.lastrowid": "int | None",
    "Row(cursor, (1,))[0]": "Any",
    "Row(cursor, (1,))[:]": "Tuple",
    "Row(cursor, (1,)).keys()": "list[str]",
    "asyncio.create_task(named.fetch_one(''))": "asyncio.Task[Row]",
    "await asyncio.gather(named.fetch_one(''), named.commit())": "tuple[Row, None]",
    "await asyncio.wait_for(named.fetch_all(''), 1)": "list[Row]",
    "await AsyncExitStack().enter_async_context(named)": "Connection[Row]",
    "await AsyncExitStack().enter_async_context(named.execute(''))": "Cursor[Row]",
    "(await conn.fetch_one('')).count(1)": "int",
    "lc.create_client('file:x', auth_token=None, tls=True)": "lc.Client",
    "lc.create_client_sync('file:x')": "lc.ClientSync",
    "await client.execute('', numbers)": "lc.ResultSet",
    "await client.execute(('', {'a': 1, 'b': None}))": "lc.ResultSet",
    "await client.batch(['', ('',), ('', [1, 'a', b'']), lc.Statement('')])": "list[lc.ResultSet]",
    "client.transaction().__enter__()": "lc.Transaction",
    "await client.transaction().execute(lc.Statement('', numbers))": "lc.ResultSet",
    "sync.batch([('', numbers)])": "list[lc.ResultSet]",
    "sync.transaction().__enter__()": "lc.TransactionSync",
    "rs[0]": "lc.Row",
    "rs[:]": "list[lc.Row]",
    "[row for row in rs]": "list[lc.Row]",
    "rs[0]['a']": "str | int | float | bytes | None",
    "rs[0][1:]": "tuple[str | int | float | bytes | None, ...]",
    "rs.last_insert_rowid": "int | None",
    "lc.LibsqlError('', '').code": "str",
}

REFUSED = {
    'connect(":memory:", frobnicate=1)': "call-overload",
    'connect(":memory:", row_factory=1)': "call-overload",
    'connect(":memory:", isolation_level="SERIALIZABLE")': "call-overload",
    'connect(":memory:", init_hook=print)': "arg-type",
    "await conn.execute(b'')": "arg-type",
    "await conn.execute('', 1)": "arg-type",
    "await conn.executemany('')": "call-arg",
    "conn.in_transaction = True": "misc",
    "conn.autocommit = 2": "assignment",
    "(await cursor.fetchone())[0]": "index",
    "_: Connection[Row] = conn": "assignment",
    "conn.commit()": "unused-awaitable",
    "client.execute('')": "unused-coroutine",
    "await client.execute('', [object()])": "list-item",
    "rs.columns = ()": "misc",
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run mypy once over all cases; return the error that each of them met, if any."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    statements = {
        case: f"value{place} = {case}; use(assert_type(value{place}, {expected}))"
        for place, (case, expected) in enumerate(INFERRED.items())
    }
    statements |= {case: case for case in REFUSED}
    folder = tmp_path_factory.mktemp("typing")
    source = folder / "cases.py"
    source.write_text(PRELUDE + "".join(f"    {line}\n" for line in statements.values()))
    environment = dict(os.environ)
    # mypy finds an installed package by itself; it wants to be shown a folder of sources.
    if PACKAGE.parent.name != "site-packages":
        environment["MYPYPATH"] = str(PACKAGE.parent)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-pretty"]
    command += [f"--cache-dir={folder}", "--allow-empty-bodies"]
    command += ["--enable-error-code=unused-awaitable", str(source)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = {
        int(line): f"{code}: {message}"
        for line, message, code in re.findall(
            r"cases\.py:(\d+): error: (.*)  \[([\w-]+)\]$", done.stdout, re.MULTILINE
        )
    }
    first = PRELUDE.count("\n") + 1
    met = {case: found.pop(line, "") for line, case in enumerate(statements, first)}
    assert found == {}, "an error outside the cases"
    return met


@pytest.mark.slow
@pytest.mark.parametrize("case", INFERRED)
def test_checker_infers(errors: dict[str, str], case: str) -> None:
    assert errors[case] == ""


@pytest.mark.slow
@pytest.mark.parametrize(("case", "code"), REFUSED.items(), ids=REFUSED)
def test_checker_refuses(errors: dict[str, str], case: str, code: str) -> None:
    assert errors[case].startswith(f"{code}: ")


def test_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


# The stub is the manual.


def documented(body: list[ast.stmt], prefix: str = "") -> dict[str, str]:
    """Return what a stub says about each name; of overloads, the first one speaks."""
    found: dict[str, str] = {}
    for statement, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found.setdefault(prefix + statement.name, ast.get_docstring(statement) or "")
            if isinstance(statement, ast.ClassDef):
                found |= documented(statement.body, f"{prefix}{statement.name}.")
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            match following:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[prefix + statement.target.id] = text
                case _:
                    pass
    return found


STUB = ast.parse(PACKAGE.joinpath("_aiolibsql.pyi").read_text(encoding="utf-8"))
DOCUMENTED = documented(STUB.body)
CLASSES = [value for value in vars(_aiolibsql).values() if isinstance(value, type)]
PUBLIC = [
    *(name for name in vars(_aiolibsql) if not name.startswith("_")),
    *(
        f"{class_.__name__}.{name}"
        for class_ in CLASSES
        for name in sorted(vars(class_))
        if not name.startswith("_")
    ),
]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_documented_in_the_stub(name: str) -> None:
    first = DOCUMENTED[name].partition("\n")[0]
    assert first.endswith(".")


DBAPI_STUB = ast.parse(PACKAGE.joinpath("dbapi", "__init__.pyi").read_text(encoding="utf-8"))
DBAPI_DOCUMENTED = documented(DBAPI_STUB.body)
# What PEP 249 wants each connection to have.
EXCEPTIONS = {name for name in vars(aiolibsql.exceptions) if name[0].isupper()}


@pytest.mark.parametrize("class_", [dbapi.Connection, dbapi.Cursor, dbapi.Blob])
def test_blocking_class_is_documented_in_its_stub(class_: type) -> None:
    for name in vars(class_):
        if not name.startswith("_") and name not in EXCEPTIONS:
            first = DBAPI_DOCUMENTED[f"{class_.__name__}.{name}"].partition("\n")[0]
            assert first.endswith("."), name


def methods(stub: ast.Module) -> dict[str, ast.FunctionDef]:
    return {
        f"{class_.name}.{method.name}": method
        for class_ in stub.body
        if isinstance(class_, ast.ClassDef)
        for method in class_.body
        if isinstance(method, ast.FunctionDef)
        and not method.name.startswith("_")
        and not method.decorator_list
    }


def check_sections(text: str, method: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    arguments = [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs][1:]
    for argument in arguments:
        assert re.search(rf"^    {argument.arg}: \S", text, re.MULTILINE), argument.arg
    assert method.returns is not None
    returns = ast.unparse(method.returns)
    if returns.startswith("Operation["):
        assert "\nCancellation:\n" in text
    if returns not in ("None", "Operation[None]") and arguments:
        assert "\nReturns:\n" in text


@pytest.mark.parametrize(("name", "method"), methods(STUB).items(), ids=methods(STUB))
def test_method_has_the_sections_of_the_manual(name: str, method: ast.FunctionDef) -> None:
    check_sections(DOCUMENTED[name], method)


@pytest.mark.parametrize(("name", "method"), methods(DBAPI_STUB).items(), ids=methods(DBAPI_STUB))
def test_blocking_method_has_them_too(name: str, method: ast.FunctionDef) -> None:
    check_sections(DBAPI_DOCUMENTED[name], method)


CLIENT_CLASSES = {name: value for name, value in vars(client).items() if isinstance(value, type)}
CLIENT_METHODS = {
    f"{class_.__name__}.{name}": method
    for class_ in CLIENT_CLASSES.values()
    for name, method in vars(class_).items()
    if not name.startswith("_")
}


def test_names_of_the_client_were_found() -> None:
    assert {"Client", "ResultSet", "TransactionSync"} <= CLIENT_CLASSES.keys() <= {*client.__all__}
    assert len(CLIENT_METHODS) > 25


@pytest.mark.parametrize("name", ["create_client", "create_client_sync", *CLIENT_CLASSES])
def test_name_of_the_client_is_documented(name: str) -> None:
    documentation = inspect.getdoc(vars(client)[name])
    assert documentation
    assert documentation.partition("\n")[0].endswith(".")


@pytest.mark.parametrize(("name", "method"), CLIENT_METHODS.items(), ids=CLIENT_METHODS)
def test_method_of_the_client_has_the_sections_of_the_manual(name: str, method: Any) -> None:
    text = inspect.getdoc(method) or ""
    assert text.partition("\n")[0].endswith("."), name
    function = getattr(method, "__func__", method)
    if inspect.iscoroutinefunction(function):
        assert "\nCancellation:\n" in text
    if inspect.isfunction(function):
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        assert isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(method, staticmethod):
            tree.args.args.insert(0, ast.arg("self"))
        check_sections(text, tree)


@pytest.mark.parametrize("class_", CLASSES, ids=lambda class_: class_.__name__)
def test_built_class_has_a_docstring_too(class_: type) -> None:
    assert inspect.getdoc(class_)
