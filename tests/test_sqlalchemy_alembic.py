"""Alembic: a chain of migrations, up and down, with its sync template and its async one.

The async one runs on asyncio as it is, and on trio with the changes that the guide names.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("sqlalchemy", "2.0.45", reason="the dialect is an extra")
pytest.importorskip("alembic", reason="not installed")

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from aiolibsql.sqlalchemy import create_async_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends import Backend

BEFORE = sa.MetaData()
sa.Table(
    "star",
    BEFORE,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), nullable=False),
    sa.Column("mass", sa.Integer),
)

# A column's type and default, a constraint, an index, a table with a foreign key, a dropped column:
# most of it is more than ALTER TABLE of SQLite can do, so batch mode copies the table.
AFTER = sa.MetaData()
sa.Table(
    "star",
    AFTER,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(50), nullable=False),
    sa.Column("kind", sa.String, nullable=False, server_default="dwarf"),
    sa.UniqueConstraint("name", name="uq_star_name"),
    sa.Index("ix_star_kind", "kind"),
)
sa.Table(
    "planet",
    AFTER,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("star_id", sa.Integer, sa.ForeignKey("star.id", name="fk_planet_star")),
)

METADATA = sa.MetaData()


# What the guide changes in the async template.
FOR_TRIO = {
    "import asyncio": "import trio",
    "from sqlalchemy import pool\n": "",
    "from sqlalchemy.ext.asyncio import async_engine_from_config": (
        "from aiolibsql.sqlalchemy import AsyncNullPool, async_engine_from_config"
    ),
    "pool.NullPool": "AsyncNullPool",
    "asyncio.run(run_async_migrations())": "trio.run(run_async_migrations)",
}


def changed(text: str, changes: dict[str, str]) -> str:
    """Return a text with each of some parts replaced, which has to be there once."""
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class Project:
    """A project that Alembic has set up, for a database in a file or at a server."""

    def __init__(self, folder: Path, kind: str, url: str | None = None) -> None:
        self.url = url or f"sqlite+aiolibsql:///{folder / 'app.db'}"
        template = "async" if kind == "trio" else kind
        self.config = Config(folder / "alembic.ini")
        command.init(self.config, str(folder / "migrations"), template=template)
        # Alembic takes a percent sign for the beginning of a variable.
        self.config.set_main_option("sqlalchemy.url", self.url.replace("%", "%%"))
        env = folder / "migrations" / "env.py"
        text = changed(
            env.read_text(),
            {"target_metadata = None": "target_metadata = config.attributes['metadata']"},
        )
        assert text.count("target_metadata=target_metadata") == 2
        text = text.replace(
            "target_metadata=target_metadata",
            "target_metadata=target_metadata, render_as_batch=True",
        )
        env.write_text(changed(text, FOR_TRIO) if kind == "trio" else text)

    def generate(self, metadata: sa.MetaData, message: str) -> str:
        """Generate the migration to a schema; return its text."""
        self.config.attributes["metadata"] = metadata
        script: Any = command.revision(self.config, message, autogenerate=True)
        return Path(script.path).read_text()

    def write(self, message: str, up: str, down: str) -> None:
        script: Any = command.revision(self.config, message)
        path = Path(script.path)
        parts = path.read_text().split("    pass\n")
        assert len(parts) == 3
        for place, body in enumerate((up, down)):
            parts[place] += textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
        path.write_text("".join(parts))

    def sql(self, statement: str) -> list[Any]:
        engine = sa.create_engine(self.url)
        try:
            with engine.begin() as conn:
                result = conn.exec_driver_sql(statement)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def schema(self) -> list[Any]:
        """Return the schema in SQLite's words, without the tables of Alembic and SQLite."""
        return self.sql(
            "SELECT type, name, sql FROM sqlite_schema "
            "WHERE tbl_name <> 'alembic_version' AND tbl_name NOT GLOB 'sqlite_*' "
            "ORDER BY type, name"
        )


@pytest.fixture(params=["generic", "async", "trio"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """Return a project of each of Alembic's templates."""
    return Project(tmp_path, request.param)


@pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")
def test_chain_of_migrations_goes_up_and_down(project: Project) -> None:
    go_up_and_down(project)


@pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")
@pytest.mark.parametrize("kind", ["generic", "async", "trio"])
def test_chain_of_migrations_at_a_server(hosted: Backend, tmp_path: Path, kind: str) -> None:
    go_up_and_down(Project(tmp_path, kind, hosted.engine_url))


# The cookbook's way to let an application migrate, with its own connection.
GIVEN = """
    given = config.attributes.get("connection")
    if given is not None:
        context.configure(connection=given, target_metadata=target_metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
        return
"""


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")
async def test_application_migrates_itself_in_its_own_loop(tmp_path: Path) -> None:
    project = Project(tmp_path, "generic")
    env = tmp_path / "migrations" / "env.py"
    begin = '    """Run migrations in \'online\' mode.'
    text, _, rest = env.read_text().partition(begin)
    doc, end, body = rest.partition('    """\n')
    env.write_text(f"{text}{begin}{doc}{end}{GIVEN}{body}")
    project.generate(BEFORE, "stars")
    command.upgrade(project.config, "head")
    project.generate(AFTER, "planets")

    def run(conn: sa.Connection, step: Callable[[Config, str], None], to: str) -> None:
        project.config.attributes["connection"] = conn
        step(project.config, to)

    engine = create_async_engine(project.url)
    names = []
    for step, to in ((command.upgrade, "head"), (command.downgrade, "base")):
        async with engine.begin() as conn:
            await conn.run_sync(run, step, to)
            names.append(await conn.run_sync(lambda conn: sa.inspect(conn).get_table_names()))
    assert names == [["alembic_version", "planet", "star"], ["alembic_version"]]
    await engine.dispose()


def go_up_and_down(project: Project) -> None:
    """Migrate a database by a chain, up and down, and look at what is there."""
    first = project.generate(BEFORE, "stars")
    assert "op.create_table('star'" in first
    command.upgrade(project.config, "head")
    project.sql("INSERT INTO star (name, mass) VALUES ('Sun', 1), ('Vega', 2)")
    before = project.schema()

    second = project.generate(AFTER, "planets")
    assert "batch_op" in second
    command.upgrade(project.config, "head")
    after = project.schema()
    assert after != before
    assert project.sql("SELECT name, kind FROM star ORDER BY id") == [
        ("Sun", "dwarf"),
        ("Vega", "dwarf"),
    ]

    project.write(
        "names in capitals",
        up='op.execute("UPDATE star SET name = upper(name)")',
        down='op.execute("UPDATE star SET name = substr(name, 1, 1) || lower(substr(name, 2))")',
    )
    command.upgrade(project.config, "head")
    assert project.sql("SELECT name FROM star ORDER BY id") == [("SUN",), ("VEGA",)]
    # Everything there is, is in the migrations.
    command.check(project.config)

    command.downgrade(project.config, "-1")
    assert project.sql("SELECT name FROM star ORDER BY id") == [("Sun",), ("Vega",)]
    command.downgrade(project.config, "-1")
    assert [row[:2] for row in project.schema()] == [row[:2] for row in before]
    assert project.sql("SELECT name, mass FROM star ORDER BY id") == [("Sun", None), ("Vega", None)]
    command.downgrade(project.config, "base")
    assert project.schema() == []
    command.upgrade(project.config, "head")
    assert project.schema() == after


@pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")
def test_migration_that_fails_leaves_nothing(project: Project) -> None:
    project.generate(BEFORE, "stars")
    command.upgrade(project.config, "head")
    before = project.schema()
    project.write(
        "broken",
        up="""
        op.create_table("half", sa.Column("id", sa.Integer))
        with op.batch_alter_table("star") as batch_op:
            batch_op.alter_column("name", new_column_name="title")
        op.execute("INSERT INTO nowhere VALUES (1)")
        """,
        down="pass",
    )
    with pytest.raises(sa.exc.OperationalError, match="nowhere"):
        command.upgrade(project.config, "head")
    assert project.schema() == before
    head = ScriptDirectory.from_config(project.config).get_current_head()
    assert project.sql("SELECT version_num FROM alembic_version") != [(head,)]


@pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")
def test_check_finds_what_was_not_migrated(project: Project) -> None:
    project.generate(BEFORE, "stars")
    command.upgrade(project.config, "head")
    project.config.attributes["metadata"] = AFTER
    with pytest.raises(CommandError, match="New upgrade operations"):
        command.check(project.config)


@pytest.mark.filterwarnings("ignore:No path_separator found:DeprecationWarning")
def test_offline_migration_is_printed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.generate(BEFORE, "stars")
    command.upgrade(project.config, "head", sql=True)
    assert "CREATE TABLE star" in capsys.readouterr().out
    assert project.schema() == []
