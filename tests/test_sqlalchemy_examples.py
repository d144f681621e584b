"""The example service, FastAPI and SQLModel, on every event loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from programs import load

pytest.importorskip("sqlalchemy", "2.0.45", reason="the dialect is an extra")
pytest.importorskip("fastapi", reason="not installed")
pytest.importorskip("sqlmodel", reason="not installed")
httpx = pytest.importorskip("httpx", reason="not installed")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "notes_api.py"


@pytest.fixture(scope="module")
def app() -> Any:
    # Once, for SQLModel has one table of each name.
    return load(EXAMPLE).app


@pytest.fixture
async def client(app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Return a client of the service, which has a fresh database."""
    monkeypatch.setenv("NOTES_DATABASE", str(tmp_path / "notes.db"))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def test_notes_are_created_read_and_deleted(client: Any) -> None:
    made = await client.post("/notes", json={"title": "b", "text": "x", "tags": ["one", "two"]})
    assert made.status_code == 201
    note = {"id": 1, "title": "b", "text": "x", "tags": ["one", "two"]}
    assert made.json() == note
    assert (await client.get("/notes/1")).json() == note
    assert (await client.post("/notes", json={"title": "b"})).status_code == 409
    await client.post("/notes", json={"title": "a"})
    assert [note["title"] for note in (await client.get("/notes")).json()] == ["a", "b"]
    assert (await client.delete("/notes/1")).status_code == 204
    assert (await client.get("/notes/1")).status_code == 404


async def test_many_requests_at_once(client: Any) -> None:
    statuses = []

    async def create(i: int) -> None:
        answer = await client.post("/notes", json={"title": f"{i // 2}", "tags": ["t"]})
        statuses.append(answer.status_code)

    with anyio.fail_after(40):
        async with anyio.create_task_group() as tasks:
            for i in range(40):
                tasks.start_soon(create, i)
    assert sorted(statuses) == [201] * 20 + [409] * 20
    assert len((await client.get("/notes")).json()) == 20
