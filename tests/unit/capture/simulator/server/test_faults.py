"""capture/simulator/server/faults.py: orders are understood exactly or refused with a sentence."""

from __future__ import annotations

import pytest

from fluxcap.capture.simulator.server.faults import Fault, FaultRequest, parse_order
from fluxcap.schemas.errors import ConfigError


def test_an_order_is_json() -> None:
    order = parse_order(b'{"fault": "quiet_market", "symbols": ["EURUSD_otc"], "seconds": 2.5}')

    assert order == FaultRequest(Fault.QUIET_MARKET, seconds=2.5, symbols=("EURUSD_otc",))


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_can_be_ordered_by_its_name(fault: Fault) -> None:
    assert parse_order(f'{{"fault": "{fault}"}}'.encode()).fault is fault


@pytest.mark.parametrize("body", [b"", b"[]", b'{"fault": "flood"}', b'{"fault": "silence", "second": 1}'])
def test_anything_else_is_refused_and_the_faults_are_named(body: bytes) -> None:
    with pytest.raises(ConfigError, match="close_sockets"):
        parse_order(body)
