"""What the dev server's panel works on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxcap.bridge.devserver.panel_session import PanelSession, key_of, panel_counters
from fluxcap.bridge.devserver.settings import DevSettings
from fluxcap.schemas.errors import FluxcapError
from tests.support.wire.samples import ANY_PORT


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[PanelSession]:
    desk = PanelSession(DevSettings(data_dir=str(tmp_path), pub=ANY_PORT, rep=ANY_PORT, history=10, broadcasting=False))
    yield desk
    desk.close()


def test_the_four_counters_tell_what_left_what_is_kept_what_was_held_back_and_what_was_answered() -> None:
    counters = {"sent_candles": 10, "sent_status": 5, "dropped_candles": 2, "answers": 7, "requests": 8}

    assert panel_counters(counters, 40) == {"published": 13, "stored": 40, "dropped": 2, "served": 7}


def test_it_moves_to_other_endpoints_with_store_and_faults(desk: PanelSession) -> None:
    store, before = desk.poll()[0][0].store_id, desk.engine.endpoints
    desk.set_fault("drop_percent", 25)

    desk.rebind(ANY_PORT, ANY_PORT)

    assert desk.engine.endpoints != before
    assert desk.poll()[0][0].store_id == store
    assert desk.current.faults.drop_percent == 25


@pytest.mark.costly
def test_where_endpoints_cannot_be_had_it_serves_on_as_before(desk: PanelSession) -> None:
    before = desk.engine.endpoints

    with pytest.raises(FluxcapError):
        desk.rebind("nonsense", "tcp://127.0.0.1:0")

    assert desk.engine.endpoints == before
    assert desk.poll()[0][0].latest_sequence == 10


def test_one_fault_changes_and_the_others_stay(desk: PanelSession) -> None:
    desk.set_fault("jitter_ms", 30.0)
    desk.set_fault("stall", True)

    assert (desk.engine.faults.jitter_ms, desk.engine.faults.stall) == (30, True)
    with pytest.raises(FluxcapError):
        desk.set_fault("drop_percent", 101)


def test_the_stream_of_a_symbol_is_named_by_the_settings() -> None:
    assert str(key_of(DevSettings(), "X")) == "SIM.X.1s"
