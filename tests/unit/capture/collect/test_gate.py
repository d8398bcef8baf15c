"""The gate on the daemon's connection: for its user alone, one at a time, and only as long as it is used."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fluxcap.bridge.http.run_file import RunFile, write_run_file
from fluxcap.capture.chrome.share import SharedBrowser
from fluxcap.capture.collect.cdp_proxy import GateAddress
from fluxcap.capture.collect.gate import GATE_FILE, GateKeeper, open_gate
from fluxcap.capture.pipeline.consent import ConsentFile
from fluxcap.capture.runtime.settings import Settings
from fluxcap.schemas.errors import AlreadyRunning, ChromeUnavailable, ConfigError, ConsentRefused, FluxcapError
from tests.support.browser.consent_browser import BANK_TAB, PLATFORM_TAB, ConsentBrowser
from tests.support.patience import PATIENCE_S, await_that


class Pipeline:
    """Holds a connection on which everything is answered with nothing."""

    def __init__(self) -> None:
        self.shared_browser = SharedBrowser()
        self.attached = True
        self.chrome_reason = "Click Allow."
        self.shared_browser.opened(self._answer)

    def view(self) -> Pipeline:
        return self

    def _answer(self, text: str) -> None:
        command = json.loads(text)
        session = {"sessionId": command["sessionId"]} if "sessionId" in command else {}
        result = {"sessionId": "G"} if command["method"] == "Target.attachToBrowserTarget" else {}
        self.shared_browser.take(json.dumps({"id": command["id"], "result": result, **session}).encode())


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


@pytest.fixture
def keep(pipeline: Pipeline, tmp_path: Path) -> Iterator[Callable[..., GateKeeper]]:
    """``keep(**options) -> GateKeeper`` of a daemon with consent."""
    keepers = []

    def make(*, consent: bool = True, **options: Any) -> GateKeeper:
        settings = Settings(consent=consent, data_dir=tmp_path)
        keepers.append(GateKeeper(pipeline, lambda _url: True, settings, **options))  # type: ignore[arg-type]
        return keepers[-1]

    yield make
    for keeper in keepers:
        keeper.close()


def address(file: Path) -> GateAddress:
    return msgspec.json.decode(file.read_bytes(), type=GateAddress)


def feed(file: Path) -> Any:
    return connect(address(file).feed_url, proxy=None)


def test_the_way_stands_in_a_file_that_only_its_user_may_read(keep: Callable[..., GateKeeper], tmp_path: Path):
    file = keep().open()

    assert file == tmp_path / GATE_FILE
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_each_gate_has_a_token_of_its_own(keep: Callable[..., GateKeeper]):
    keeper = keep()
    first = address(keeper.open())
    keeper.close()
    second = address(keeper.open())

    token = first.endpoint.partition(".")[0]
    assert len(token) == 32
    assert token not in second.endpoint
    assert token not in second.feed_url


def test_while_one_is_open_there_is_no_other(keep: Callable[..., GateKeeper]):
    keeper = keep()
    keeper.open()

    with pytest.raises(AlreadyRunning, match="Another `fluxcap collect`"):
        keeper.open()


def test_it_closes_when_its_reader_goes(keep: Callable[..., GateKeeper]):
    file = keep().open()
    way = address(file).feed_url
    with feed(file) as reader:
        reader.send('{"id":1,"method":"Browser.getVersion"}')
        assert json.loads(reader.recv(PATIENCE_S)) == {"id": 1, "result": {}}

    await_that(lambda: not file.exists(), "the end of the gate")
    with pytest.raises((OSError, InvalidStatus)):
        connect(way, proxy=None)


def test_it_closes_when_nobody_comes(keep: Callable[..., GateKeeper]):
    file = keep(nobody_comes_s=0.01).open()

    await_that(lambda: not file.exists(), "the end of the gate")


def test_it_closes_with_the_browser(keep: Callable[..., GateKeeper], pipeline: Pipeline):
    file = keep().open()
    with feed(file) as reader:
        reader.send('{"id":1,"method":"Browser.getVersion"}')
        reader.recv(PATIENCE_S)

        pipeline.shared_browser.ended()

        with pytest.raises(ConnectionClosed):
            reader.recv(PATIENCE_S)
    await_that(lambda: not file.exists(), "the end of the gate")


def test_without_a_connection_it_says_what_to_click(keep: Callable[..., GateKeeper], pipeline: Pipeline):
    pipeline.attached = False

    with pytest.raises(ChromeUnavailable, match=r"Click Allow\."):
        keep().open()


def test_where_no_consent_is_needed_there_is_none(keep: Callable[..., GateKeeper]):
    with pytest.raises(ConfigError, match="does not read a browser by consent"):
        keep(consent=False).open()


# --- without a daemon ------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[ConsentBrowser]:
    profile = tmp_path / "profile"
    profile.mkdir()
    browser = ConsentBrowser(profile)
    yield browser
    browser.quit()


def by_consent(folder: Path, browser: ConsentBrowser) -> Settings:
    return Settings(consent=True, chrome_profile=browser.profile, data_dir=folder / "data")


def test_without_a_daemon_it_asks_once_itself_and_shows_the_platforms_tab(tmp_path: Path, browser: ConsentBrowser):
    told: list[str] = []

    def tell(sentence: str) -> None:
        told.append(sentence)
        threading.Thread(target=lambda: browser.dialog().allow()).start()

    settings = by_consent(tmp_path, browser)
    with (
        open_gate(settings, lambda url: "pocketoption" in url, tell) as gate,
        connect(gate.feed_url, proxy=None) as reader,
    ):
        reader.send('{"id":1,"method":"Target.setDiscoverTargets","params":{"discover":true}}')
        heard = [reader.recv(PATIENCE_S), reader.recv(PATIENCE_S)]

    assert ["click Allow" in sentence for sentence in told] == [True]
    assert PLATFORM_TAB in str(heard[0])
    assert BANK_TAB not in str(heard)
    assert len(browser.dialogs) == 1


def test_without_a_daemon_the_same_rules_hold(tmp_path: Path, browser: ConsentBrowser):
    settings = by_consent(tmp_path, browser)
    told: list[str] = []

    def tell(sentence: str) -> None:
        told.append(sentence)
        threading.Thread(target=lambda: browser.dialog().cancel()).start()

    for _ in range(2):
        with (
            pytest.raises(ConsentRefused, match="`fluxcap chrome --ask` asks again"),
            open_gate(settings, lambda _url: True, tell),
        ):
            pass

    assert (len(told), len(browser.dialogs)) == (1, 1)
    assert ConsentFile(settings.data_dir).read().answer == "refused"


# --- with a daemon ---------------------------------------------------------------------------------------------------


class Daemon:
    """Answers for the control port; ``answer`` is a file, or why there is none."""

    def __init__(self, answer: Path | FluxcapError) -> None:
        self.answer = answer

    def __call__(self, _url: str, _timeout_s: float) -> Daemon:
        return self

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None: ...

    def share_browser(self) -> Path:
        if isinstance(self.answer, FluxcapError):
            raise self.answer
        return self.answer


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path | FluxcapError], Path]:
    """``running(answer) -> data folder`` of a daemon that runs."""

    def run(answer: Path | FluxcapError) -> Path:
        write_run_file(tmp_path, RunFile(os.getpid(), "http://127.0.0.1:9", "tcp://127.0.0.1:9", "tcp://127.0.0.1:9"))
        monkeypatch.setattr("fluxcap.bridge.http.daemon_client.DaemonClient", Daemon(answer))
        return tmp_path

    return run


def no_dialog(_sentence: str) -> None:
    pytest.fail("a second connection was opened")


@pytest.mark.parametrize("told", [True, False], ids=["told of consent", "daemon alone told"])
def test_beside_a_daemon_its_connection_is_used(
    keep: Callable[..., GateKeeper], running: Callable[..., Path], told: bool
):
    file = keep().open()
    data_dir = running(file)

    with open_gate(Settings(consent=told, chrome="127.0.0.1:9", data_dir=data_dir), lambda _u: True, no_dialog) as gate:
        assert gate == address(file)


def test_a_daemon_that_waits_for_consent_says_what_to_click(running: Callable[..., Path]):
    data_dir = running(FluxcapError("Chrome asks; click Allow."))

    with (
        pytest.raises(FluxcapError, match="click Allow"),
        open_gate(Settings(consent=True, data_dir=data_dir), lambda _url: True, no_dialog),
    ):
        pass


def test_beside_a_daemon_without_consent_the_missing_browser_is_what_is_told(running: Callable[..., Path]):
    data_dir = running(ConfigError("This fluxcap does not read a browser by consent."))

    with (
        pytest.raises(ChromeUnavailable, match=r"Nothing answers on 127\.0\.0\.1:9"),
        open_gate(Settings(chrome="127.0.0.1:9", data_dir=data_dir), lambda _url: True, no_dialog),
    ):
        pass
