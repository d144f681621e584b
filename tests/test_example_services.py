"""The example services on a pool, FastAPI and Starlette, under every event loop."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from programs import load

import aiolibsql.dbapi

testclient = pytest.importorskip("starlette.testclient", reason="not installed")
pytest.importorskip("fastapi", reason="not installed")

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SERVICES = {name: load(EXAMPLES / f"{name}.py").app for name in ("links_api", "shop_service")}


@pytest.fixture
def client(
    request: pytest.FixtureRequest,
    anyio_backend: tuple[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Any]:
    """Return a client of a service, which runs on its own loop and has a fresh database."""
    app = SERVICES[request.param]
    monkeypatch.setenv("LINKS_DATABASE", str(tmp_path / "links.db"))
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.db"))
    runtime, options = anyio_backend
    with testclient.TestClient(
        app, backend=runtime, backend_options=options, follow_redirects=False
    ) as client:
        yield client


links = pytest.mark.parametrize("client", ["links_api"], indirect=True)
shop = pytest.mark.parametrize("client", ["shop_service"], indirect=True)


def at_once(number: int, call: Any) -> list[Any]:
    """Make calls of several threads at the same time and return their results."""
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(call, range(number), timeout=40))


@links
def test_links_are_made_followed_and_deleted(client: Any) -> None:
    made = client.post("/links", json={"url": "https://sqlite.org/", "code": "lite"})
    assert made.status_code == 201
    assert made.json() == {"code": "lite", "url": "https://sqlite.org/", "visits": 0}
    assert client.post("/links", json=made.json()).status_code == 409
    assert client.post("/links", json={"url": "nowhere"}).status_code == 422
    other = client.post("/links", json={"url": "https://example.com/"}).json()
    assert len(other["code"]) == 8
    followed = client.get("/lite")
    assert (followed.status_code, followed.headers["location"]) == (307, "https://sqlite.org/")
    assert client.get("/links").json() == [{**made.json(), "visits": 1}, other]
    assert client.delete("/links/lite").status_code == 204
    assert client.delete("/links/lite").status_code == 404
    assert client.get("/lite").status_code == 404


@links
def test_visits_at_the_same_time_are_all_counted(client: Any) -> None:
    client.post("/links", json={"url": "https://sqlite.org/", "code": "lite"})
    assert {answer.status_code for answer in at_once(60, lambda _: client.get("/lite"))} == {307}
    assert client.get("/links").json()[0]["visits"] == 60


@links
def test_service_whose_database_is_locked_tells_to_come_back(client: Any, tmp_path: Path) -> None:
    with closing(aiolibsql.dbapi.connect(str(tmp_path / "links.db"), timeout=5)) as other:
        other.execute("BEGIN IMMEDIATE")
        new = {"url": "https://sqlite.org/", "code": "lite"}
        answer = client.post("/links", json=new)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/links").json() == []
        other.rollback()
        assert client.post("/links", json=new).status_code == 201


@shop
def test_shop_sells_all_or_nothing(client: Any) -> None:
    assert client.put("/items/pen", json={"amount": 3}).json() == {"stock": 3}
    assert client.put("/items/ink", json={"amount": 1}).json() == {"stock": 1}
    assert client.post("/sales", json={"pen": 1, "ink": 1}).status_code == 201
    for refused in ({"pen": 1, "ink": 1}, {"pen": 1, "cap": 1}, {"pen": 0}):
        assert client.post("/sales", json=refused).status_code == 409
    assert client.put("/items/pen", json={"amount": 0}).json() == {"stock": 2}
    sales = [json.loads(line) for line in client.get("/sales").text.splitlines()]
    assert sales == [
        {"id": 1, "item": "pen", "amount": 1},
        {"id": 2, "item": "ink", "amount": 1},
    ]


@shop
def test_sales_at_the_same_time_sell_no_more_than_there_is(client: Any) -> None:
    client.put("/items/pen", json={"amount": 20})
    answers = at_once(40, lambda _: client.post("/sales", json={"pen": 1}))
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [409] * 20
    assert len(client.get("/sales").text.splitlines()) == 20
