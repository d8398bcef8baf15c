"""The storm itself: which faults, when, by a seed; what was told of each and how long until all was well again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from random import Random

import msgspec

from tests.soak.storm.fault import HOUSE, PAGE, StormFault
from tests.soak.storm.faults import ALL_FAULTS
from tests.soak.storm.process_faults import ON_A_FULL_DISK
from tests.soak.storm.rig import StormRig
from tests.support.daemon.fault_rig import Trouble
from tests.support.patience import await_that

TWO_AT_ONCE = "two at once"
RECOVERED = ("tab closed", "chrome gone", "fluxcap was not running")
"""What putting all in order after a failure does; the failure itself is told anyway."""
PAIR_SHARE = 0.3
CALM_S = (1.5, 4.0)
VETERAN_SHARE = 0.2
"""After this share of the storm the last lane's daemon is ended no more: its memory is looked at."""


class Blow(msgspec.Struct, frozen=True):
    """One fault, or two at once. Seconds; None: not looked for, or it did not happen."""

    name: str
    at_s: float
    told_s: float | None
    captured_s: float | None
    """From its end until every daemon captured again."""
    clients_s: float | None
    """From its end until every client had a new candle."""
    failure: str = ""


class Storm:
    """``faults``: what it may be made of. ``troubles`` are what gaps may be told for, for the judge."""

    def __init__(self, rig: StormRig, draw: Random, faults: Sequence[StormFault] = ALL_FAULTS) -> None:
        self._rig, self._draw, self._faults = rig, draw, faults
        self.blows: list[Blow] = []
        self.troubles: list[Trouble] = []
        self.skipped: dict[str, str] = {}
        if rig.disk is None:
            self.skipped = {name: "no small file system could be mounted" for name in ON_A_FULL_DISK}

    def blow_each(self, pair_share: float) -> None:
        """Every fault once, so many of those that may be paired two at once."""
        left = self._possible()
        self._draw.shuffle(left)
        while left:
            blown = [left.pop()]
            partners = (
                [] if blown[0].alone else [other for other in left if other.side != blown[0].side and not other.alone]
            )
            if partners and self._draw.random() < pair_share:
                blown.append(self._draw.choice(partners))
                left.remove(blown[1])
            self._one(blown)
            time.sleep(self._draw.uniform(*CALM_S))

    def blow(self, seconds: float) -> None:
        """Fault after fault for so long; each before any comes again."""
        begin_s = time.time()
        order = self._order()
        while (gone_s := time.time() - begin_s) < seconds:
            self._rig.veteran = gone_s > VETERAN_SHARE * seconds
            fault = next(order)
            pair = [fault]
            if not fault.alone and self._draw.random() < PAIR_SHARE:
                pair.append(self._partner(fault))
            self._one(pair)
            time.sleep(self._draw.uniform(*CALM_S))

    def _possible(self) -> list[StormFault]:
        return [fault for fault in self._faults if fault.name not in self.skipped]

    def _order(self) -> Iterator[StormFault]:
        while True:
            faults = self._possible()
            self._draw.shuffle(faults)
            yield from faults

    def _partner(self, fault: StormFault) -> StormFault:
        side = HOUSE if fault.side == PAGE else PAGE
        return self._draw.choice([other for other in self._possible() if other.side == side and not other.alone])

    def _one(self, faults: Sequence[StormFault]) -> None:
        name = " + ".join(fault.name for fault in faults)
        begin_s = time.time()
        print(f"{time.strftime('%H:%M:%S', time.gmtime())} {name}", flush=True)
        told_s = captured_s = clients_s = None
        failure = ""
        try:
            told_s = self._within(faults)
            lifted_s = time.time()
            captured_s = self._rig.await_live(lifted_s) - lifted_s
            clients_s = self._rig.await_clients(lifted_s) - lifted_s
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            print(f"  FAILED: {failure}", flush=True)
            self._recover()
        reasons = (*(r for fault in faults for r in fault.reasons), *(RECOVERED if failure else ()))
        self.troubles.append(Trouble(begin_s * 1_000, time.time() * 1_000 + 1_000, reasons))
        self.blows.append(Blow(name, begin_s, told_s, captured_s, clients_s, failure))

    def _within(self, faults: Sequence[StormFault]) -> float | None:
        """Make them, wait for the first word if it is only one, keep them for a while, mend them."""
        told_s, until_s = None, 0.0
        missed: AssertionError | None = None
        with ExitStack() as stack:
            for fault in faults:
                begin_s = time.time()
                stack.enter_context(fault.make(self._rig, self._draw))
                # A socket that is silent for less than 5 s cannot be told from a quiet one: each has its whole time.
                until_s = max(until_s, begin_s + self._draw.uniform(*fault.hold_s))
                if len(faults) == 1 and fault.told is not None:
                    told = partial(fault.told(self._rig), begin_s)
                    try:
                        told_s = max(0.0, await_that(told, "a word of it") - begin_s)
                    except AssertionError as error:
                        missed = error  # it is mended all the same
                time.sleep(max(0.0, until_s - time.time()) if fault is faults[-1] else self._draw.uniform(0, 1))
        if missed is not None:
            raise missed
        return told_s

    def _recover(self) -> None:
        """Something was not mended: put all in order, so that the storm can go on and be judged."""
        rig = self._rig
        with contextlib.suppress(Exception):
            if not rig.browser.running:
                rig.browser.port = rig.home_port
                rig.browser.start()
            for target in rig.browser.targets():
                if target["url"] == rig.site.url:
                    rig.browser.close_tab(str(target["id"]))
            rig.tab = rig.open_tab()
        for lane in rig.lanes:
            if not lane.daemon.running:
                rig.start(lane)
        for client in rig.clients.values():
            if not client.process.running:
                client.start()
        with contextlib.suppress(AssertionError):
            rig.await_live(time.time())
