"""The dev server's panel: a page of controls, and beside them what a client makes of it.

The page is a client of this server's own HTTP API and of its live feed. What is here serves it, and moves the server to
other endpoints while it is open.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, cast

import msgspec
from fastapi import FastAPI, Request, Response

from fluxcap.bridge.dashboard.app import mount_page_files
from fluxcap.bridge.devserver.engine import DevEngine
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.bridge.transport.curve import server_keys, with_own_client
from fluxcap.schemas.errors import FluxcapError


class _Endpoints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pub: str
    rep: str


class PanelSession:
    """The engine of a panel, which can be replaced by one on other endpoints.

    Everything but the properties blocks for a moment and raises FluxcapError. own_curve: keys with which this process
    itself is let in, if the engine requires keys.
    """

    def __init__(self, settings: DevSettings) -> None:
        keys = server_keys(Path(settings.curve)) if settings.curve else None
        self._curve, self.own_curve = with_own_client(keys)
        self._engine = DevEngine(settings, self._curve).start()

    @property
    def engine(self) -> DevEngine:
        return self._engine

    @property
    def current(self) -> DevEngine:
        """Stands for whichever engine is in use, for who keeps it."""
        return cast(DevEngine, _EngineProxy(self))

    def rebind(self, pub: str, rep: str) -> None:
        """Serve the same store on other endpoints. Where they cannot be had, serve on as before."""
        before = msgspec.structs.replace(
            self._engine.settings,
            pub=self._engine.endpoints[0],
            rep=self._engine.endpoints[1],
            broadcasting=self._engine.broadcasting,
        )
        faults = self._engine.faults
        self._engine.close()
        try:
            self._engine = DevEngine(msgspec.structs.replace(before, pub=pub, rep=rep), self._curve).start()
        except FluxcapError:
            self._engine = DevEngine(before, self._curve).start()
            raise
        finally:
            self._engine.set_faults(faults)

    def close(self) -> None:
        with contextlib.suppress(FluxcapError):
            self._engine.close()


class _EngineProxy:
    def __init__(self, session: PanelSession) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session.engine, name)


def mount_panel(app: FastAPI, session: PanelSession) -> None:
    """The panel at ``/``, and ``PUT /api/endpoints`` with ``{"pub": "tcp://…", "rep": "tcp://…"}``."""
    from starlette.concurrency import run_in_threadpool

    mount_page_files(app, "panel.html", has_daemon=False)

    @app.put("/api/endpoints", include_in_schema=False)
    async def move(request: Request) -> Response:
        try:
            wish = msgspec.json.decode(await request.body(), type=_Endpoints)
            await run_in_threadpool(session.rebind, wish.pub, wish.rep)
        except (msgspec.MsgspecError, FluxcapError) as error:
            return Response(msgspec.json.encode({"error": str(error)}), 400, media_type="application/json")
        pub, rep = session.engine.endpoints
        return Response(msgspec.json.encode({"pub": pub, "rep": rep}), media_type="application/json")
