"""What the fault tests share: a daemon on a real Chromium and a simulated site, and a judge of what it kept.

The judge knows the simulator's truth, the faults that were made and the words of the flags; nothing of the product's
rules. A candle that claims to be whole must be the truth; one that is less, or missing, must lie in a gap that the
store tells; and no gap may be told where no fault was.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import pytest
import zmq

from fluxcap.bridge.export.export import effective_gaps
from fluxcap.capture.simulator import SimulatedSite, SiteConfig, Truth, read_truth
from fluxcap.schemas import codec
from fluxcap.schemas.types import (
    BackfillCandlesRequest,
    BackfillCandlesResponse,
    Candle,
    CandleFlags,
    Gap,
    Message,
    RevisionsRequest,
    RevisionsResponse,
    StreamKey,
    candles_from,
)
from tests.support.browser.chromium import Chromium, chromium_executable
from tests.support.browser.devtools import Remote
from tests.support.daemon.live_rig import SOURCE, DaemonProcess
from tests.support.patience import PATIENCE_MS, PATIENCE_S, await_that
from tests.support.ports import lasting_port

WITH_HISTORY, WITHOUT_HISTORY = "EURUSD_otc", "GBPUSD_otc"
"""The asset that the page shows gets its history with every load; the other one only ticks."""
FOCUS = (WITH_HISTORY, WITHOUT_HISTORY)
INTERVAL_MS = 1_000
LAG_MS = 800
POLL_S = 0.01
SHORT_WAITS = "history_wait_ms = 1500\nidle_timeout_ms = 4000\nallowed_lateness_ms = 1000\n"
EDGE_MS = LAG_MS + 1_500
"""So long before a fault its gap may begin: ticks under way, and the pause before the last one."""


MACHINE_STOOD = "socket silent"
"""What is told when a machine that has too much to do brings nothing for five seconds. It is the truth, and needs no
other cause as long as it costs no candle, or lasts still: all comes later."""


class Trouble(msgspec.Struct, frozen=True):
    """One fault: from when to when it may have made capture blind (epoch ms), and which reasons may be told for it."""

    from_ms: float
    to_ms: float
    reasons: tuple[str, ...]

    def explains(self, gap: Gap) -> bool:
        to_ms = gap.to_ms or gap.from_ms
        return gap.reason in self.reasons and gap.from_ms < self.to_ms and to_ms > self.from_ms - EDGE_MS


def wholly_known(candle: Candle) -> bool:
    return not candle.flags & ~CandleFlags.REVISED or bool(candle.flags & CandleFlags.FILLED)


def touches(gap: Gap, ts_ms: int, interval_ms: int = INTERVAL_MS) -> bool:
    """Whether a bucket and a gap, which may be open yet, have an instant in common."""
    return gap.from_ms < ts_ms + interval_ms and (not gap.to_ms or gap.to_ms > ts_ms)


def says(candle: Candle, true: Candle) -> bool:
    """Whether it is the truth but for its flags. The platform's own candles, in its history, count no ticks."""
    if candle.flags & CandleFlags.FILLED and not candle.tick_count:
        true = msgspec.structs.replace(true, volume=0.0, tick_count=0)
    return msgspec.structs.replace(candle, flags=0) == true


def judge(
    truth: dict[int, Candle],
    candles: Sequence[Candle],
    gaps: Sequence[Gap],
    troubles: Sequence[Trouble],
    interval_ms: int = INTERVAL_MS,
) -> Iterator[str]:
    """What is wrong with the candles of one asset, in words. ``truth``: what there should be, by start."""
    found = {candle.ts_ms: candle for candle in candles}
    for ts_ms, candle in found.items():
        if ts_ms not in truth:
            yield f"invented: {candle}"
    for ts_ms, true in truth.items():
        told = [gap for gap in gaps if touches(gap, ts_ms, interval_ms)]
        candle = found.get(ts_ms)
        if candle is not None and wholly_known(candle):
            if not says(candle, true):
                yield f"wrong: {candle} is not {true}"
            continue
        if not told:
            yield f"{'partial' if candle else 'missing'} without a gap: {candle or true}"
        if candle is None:
            continue
        if candle.flags & ~CandleFlags.REVISED != CandleFlags.BLIND:
            yield f"may not be published: {candle}"
        if candle.open != true.open or not true.low <= candle.low <= candle.high <= true.high:
            yield f"not within the truth: {candle}, {true}"
    for gap in gaps:
        touched = [found.get(ts_ms) for ts_ms in truth if touches(gap, ts_ms, interval_ms)]
        costs_nothing = not gap.to_ms or all(candle is not None and wholly_known(candle) for candle in touched)
        if any(trouble.explains(gap) for trouble in troubles) or (gap.reason == MACHINE_STOOD and costs_nothing):
            continue
        yield f"a gap without a cause: {gap}"


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Within, a file system has not one byte of room."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = 65_536
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    try:
        yield
    finally:
        ballast.unlink()


class Wire:
    """Asks a daemon for what it kept, as a client does."""

    def __init__(self, endpoint: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)
        self._socket.connect(endpoint)

    def ask(self, request: Message) -> Message:
        self._socket.send(codec.encode(request))
        return codec.decode(self._socket.recv()).message

    def candles(self, key: StreamKey) -> list[Candle]:
        """All of the main stream, in order of sequence."""
        found: list[Candle] = []
        while True:
            answer = self.ask(BackfillCandlesRequest(key, len(found)))
            assert isinstance(answer, BackfillCandlesResponse), answer
            found += candles_from(answer.candles)
            if not answer.has_more:
                return found

    def revisions(self, key: StreamKey) -> list[Candle]:
        answer = self.ask(RevisionsRequest(key, 0, 100_000))
        assert isinstance(answer, RevisionsResponse), answer
        return list(candles_from(answer.candles))

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


class Hearing:
    """Keeps all that a daemon publishes, while it is held."""

    def __init__(self, endpoint: str) -> None:
        self._heard: list[tuple[bytes, bytes]] = []
        self._stop = threading.Event()
        self._endpoint = endpoint
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def of(self, topic: bytes) -> list[bytes]:
        """The payloads so far whose topic begins so."""
        return [payload for its_topic, payload in self._heard if its_topic.startswith(topic)]

    def decoded(self, topic: bytes) -> list[Message]:
        return [codec.decode(payload).message for payload in self.of(topic)]

    def _listen(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        feed = context.socket(zmq.SUB)
        feed.setsockopt(zmq.SUBSCRIBE, b"")
        feed.setsockopt(zmq.RCVHWM, 0)
        feed.connect(self._endpoint)
        while not self._stop.is_set():
            if feed.poll(50):
                topic, payload = feed.recv_multipart()
                self._heard.append((topic, payload))
        feed.close(linger=0)
        context.term()


class FaultRig:
    """A site, a browser with the trading page, a daemon of 1 s candles, and the time line of what was done to them."""

    def __init__(self, folder: Path, stack: ExitStack, *, data_parent: Path | None = None) -> None:
        """``data_parent``: where the data folder is to be, if not in ``folder``."""
        self.folder = folder
        self.data_parent = data_parent or folder
        self.troubles: list[Trouble] = []
        self.measured: list[tuple[str, float]] = []
        # A ping that a fault swallowed, or a slow machine, is to close no socket: that would be one trouble more.
        config = SiteConfig(assets=FOCUS, rate_hz=10, ping_timeout_s=10 * PATIENCE_S, truth_path=folder / "truth.jsonl")
        self.site = stack.enter_context(SimulatedSite(config))
        profile = folder / "profile"
        profile.mkdir(parents=True)
        # Without this setting chrome://discards only says that it is switched off.
        (profile / "Local State").write_text('{"internal_only_uis_enabled":true}')
        self.browser = Chromium(profile, port=lasting_port())
        stack.callback(self.browser.stop)
        self.stack = stack
        self.daemon = self.start_daemon()
        self._http = stack.enter_context(httpx.Client(timeout=PATIENCE_S, trust_env=False, verify=False))
        self.tab = self.open_tab()
        self.await_candles(time.time() * 1_000)

    # --- the things -----------------------------------------------------------------------------------------------

    def start_daemon(self) -> DaemonProcess:
        settings = self.folder / "fluxcap.toml"
        settings.write_text(SHORT_WAITS)
        daemon = DaemonProcess(
            self.data_parent / "daemon",
            self.browser.port,
            *("--platform-url", self.site_host, "--focus", ",".join(FOCUS), "--config", str(settings)),
            *("--chrome-profile", str(self.browser.profile)),
        )
        self.stack.callback(daemon.discard)
        run = daemon.run_file()
        self.control, self.pub, self.rep = run.control, run.pub, run.rep
        return daemon

    @property
    def site_host(self) -> str:
        return self.site.url.removeprefix("http://").strip("/")

    def open_tab(self) -> Remote:
        return Remote(self.browser, str(self.browser.open(self.site.url)["id"]))

    def status(self) -> dict[str, Any]:
        return dict(self._http.get(f"{self.control}/api/status").raise_for_status().json())

    def feeds(self) -> dict[str, str]:
        return {asset["symbol"]: asset["feed"] for asset in self.status()["assets"]}

    def logged_since(self, since_s: float) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.daemon.err.splitlines() if line.endswith("}")]
        return [line for line in lines if datetime.fromisoformat(line["ts"]).timestamp() >= since_s]

    def log_tells(self, event: str, **fields: str) -> Callable[[float], float | None]:
        """When the log told it, seconds, if it did since a time."""

        def told(since_s: float) -> float | None:
            for line in self.logged_since(since_s):
                if line["event"] == event and fields.items() <= line.items():
                    return datetime.fromisoformat(line["ts"]).timestamp()
            return None

        return told

    def feed_tells(self, state: str) -> Callable[[float], float | None]:
        """Now, if every focused asset's feed is said to be in that state."""
        return lambda _since_s: time.time() if set(self.feeds().values()) == {state} else None

    # --- the time line --------------------------------------------------------------------------------------------

    def noticed(self, what: str, since_s: float, told: Callable[[float], float | None]) -> None:
        """Wait until it is told, and print how long that took."""
        took_s = max(0.0, await_that(lambda: told(since_s), f"{what}: a word of it") - since_s)
        self.measured.append((what, took_s))
        print(f"{what}: told after {took_s * 1_000:.0f} ms")

    @contextmanager
    def trouble(self, *reasons: str) -> Iterator[None]:
        """Make a fault within; afterwards wait until candles come again, then judge all since the fault."""
        begin_ms = time.time() * 1_000
        yield
        end_ms = self.await_candles(time.time() * 1_000)
        self.troubles.append(Trouble(begin_ms, end_ms, reasons))
        self.judge(begin_ms - EDGE_MS)

    def await_candles(self, after_ms: float, beyond_ms: int = 2_000) -> float:
        """Wait for whole candles of every asset that begin after a time by so much; returns when they were there."""

        def there() -> bool:
            status = self.status()
            streams = {stream["stream"]: stream["latest_ts_ms"] for stream in status["streams"]}
            return len(streams) == len(FOCUS) and all(ts_ms >= after_ms + beyond_ms for ts_ms in streams.values())

        # A candle is there when its second is over: before that, asking is in vain.
        time.sleep(max(0.0, (after_ms + beyond_ms) / 1_000 + 1 - time.time()))
        try:
            await_that(there, "candles")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.status(), indent=1)}\n{self.daemon.err[-3000:]}") from None
        return time.time() * 1_000

    def judge(self, from_ms: float = 0) -> None:
        """Hold candles, revisions and gaps since a time against the truth."""
        keys = [self.daemon.key(symbol) for symbol in FOCUS]
        wire = Wire(self.rep)
        try:
            had = [(wire.candles(key), wire.revisions(key)) for key in keys]
        finally:
            wire.close()
        # Only now: a bucket that was sealed since would be held against the ticks that came before.
        truth = read_truth(self.site.truth_path)
        for key, (candles, revisions) in zip(keys, had, strict=True):
            problems = self._problems(truth, key, candles, revisions, from_ms)
            assert problems == [], f"{key.symbol}:\n" + "\n".join(problems)

    def _problems(
        self, truth: Truth, key: StreamKey, candles: list[Candle], revisions: list[Candle], from_ms: float
    ) -> list[str]:
        starts = [candle.ts_ms for candle in candles]
        assert starts == sorted(set(starts))
        first_ms = max(starts[0], int(from_ms))
        due = {c.ts_ms: c for c in truth.candles(key.symbol, INTERVAL_MS, first_ms, starts[-1] + 1)}
        answer = self._http.get(f"{self.control}/api/gaps", params={"symbol": key.symbol, "from_ms": int(from_ms)})
        gaps = effective_gaps([Gap(**gap) for gap in answer.raise_for_status().json()])
        problems = list(judge(due, [c for c in candles if c.ts_ms >= first_ms], gaps, self.troubles))
        for revision in revisions:
            true = due.get(revision.ts_ms)
            if true and wholly_known(revision) and not says(revision, true):
                problems.append(f"wrong revision: {revision} is not {true}")
        return [*problems, *(f"  told: {gap}" for gap in gaps)] if problems else []

    def missing(self, symbol: str, from_ms: float) -> list[int]:
        """Starts of buckets since a time that hold ticks and are not in the store."""
        wire = Wire(self.rep)
        try:
            starts = [candle.ts_ms for candle in wire.candles(self.daemon.key(symbol))]
        finally:
            wire.close()
        truth = read_truth(self.site.truth_path)
        return sorted({c.ts_ms for c in truth.candles(symbol, INTERVAL_MS, int(from_ms), starts[-1] + 1)} - set(starts))

    def gaps_since(self, from_ms: float, symbol: str = WITHOUT_HISTORY) -> list[Gap]:
        answer = self._http.get(f"{self.control}/api/gaps", params={"symbol": symbol, "from_ms": int(from_ms)})
        return effective_gaps([Gap(**gap) for gap in answer.raise_for_status().json()])


def make_rig(folder: Path, stack: ExitStack, **options: Any) -> FaultRig:
    if chromium_executable() is None:
        pytest.skip("no Chromium on this machine; install chromium or set FLUXCAP_CHROMIUM")
    return FaultRig(folder, stack, **options)


__all__ = [
    "FOCUS",
    "INTERVAL_MS",
    "SOURCE",
    "FaultRig",
    "Trouble",
    "filled",
    "judge",
    "make_rig",
    "says",
    "wholly_known",
]
