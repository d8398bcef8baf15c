"""The engine of the dev server's panel, which moves to other endpoints, and the route by which it does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from fluxcap.bridge.devserver.faults import Faults
from fluxcap.bridge.devserver.panel import PanelSession, mount_panel
from fluxcap.bridge.devserver.settings import DevSettings
from tests.support.wire.samples import ANY_PORT


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[PanelSession]:
    desk = PanelSession(DevSettings(data_dir=str(tmp_path), pub=ANY_PORT, rep=ANY_PORT, history=10, broadcasting=False))
    yield desk
    desk.close()


def move(desk: PanelSession, pub: str) -> httpx.Response:
    """Ask it to move, as the page does."""
    app = FastAPI()
    mount_panel(app, desk)

    async def put() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
            return await http.put("/api/endpoints", json={"pub": pub, "rep": ANY_PORT})

    return asyncio.run(put())


@pytest.mark.costly
def test_it_moves_to_other_endpoints_with_store_and_faults(desk: PanelSession) -> None:
    store, before = desk.engine.streams()[0].store_id, desk.engine.endpoints
    desk.engine.set_faults(Faults(drop_percent=25))

    answer = move(desk, ANY_PORT)

    assert desk.engine.endpoints != before
    assert answer.json() == dict(zip(("pub", "rep"), desk.engine.endpoints, strict=True))
    assert desk.current.streams()[0].store_id == store
    assert desk.current.faults.drop_percent == 25


@pytest.mark.costly
def test_where_endpoints_cannot_be_had_it_serves_on_as_before(desk: PanelSession) -> None:
    before = desk.engine.endpoints

    answer = move(desk, "nonsense")

    assert answer.status_code == 400
    assert "nonsense" in answer.json()["error"]
    assert desk.engine.endpoints == before
    assert desk.engine.streams()[0].latest_sequence == 10
