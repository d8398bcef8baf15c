"""What the doctor finds of a browser: its command line, a silent port, the platform's clock."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fluxcap.bridge.system.processes import ProcessInfo
from fluxcap.capture.chrome.browsers import Installed
from fluxcap.capture.chrome.consent import Answer, ConsentRecord
from fluxcap.capture.chrome.endpoint import BrowserInfo, ConsentBrowser
from fluxcap.capture.tools.doctor import browser
from fluxcap.capture.tools.doctor.browser import ChromeProcessInfo, running_chromes
from fluxcap.capture.tools.doctor.finding import Verdict
from fluxcap.schemas.errors import ChromeUnavailable

SILENT = ChromeUnavailable("Nothing answers on 127.0.0.1:9222 (Connection refused); start Chrome.")


def chrome(*flags: str, name: str = "chrome") -> ChromeProcessInfo:
    return ChromeProcessInfo(7, name, flags)


@pytest.mark.parametrize(
    ("words", "name", "branded"),
    [
        (("/opt/google/chrome/chrome", "--remote-debugging-port=9222", "https://a.test/"), "chrome", True),
        (("/usr/lib/chromium/chromium --remote-debugging-port=9222 --user-data-dir=/a b",), "chromium", False),
        ((r"C:\Program Files\Google\Chrome\Application\chrome.exe", "--remote-debugging-port=9222"), "chrome", True),
        (
            (r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe", "--remote-debugging-port=9222"),
            "msedge",
            True,
        ),
        (
            ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "--remote-debugging-port=9222"),
            "google chrome",
            True,
        ),
    ],
)
def test_browsers_are_found_by_their_command_lines(words: tuple[str, ...], name: str, branded: bool):
    found = running_chromes([ProcessInfo(9, words)])

    assert [(one.pid, one.name, one.branded) for one in found] == [(9, name, branded)]
    assert found[0].value("remote-debugging-port") == "9222"
    assert found[0].value("no-first-run") is None


def test_a_flag_without_a_value_is_empty_and_one_with_a_space_is_whole():
    found = running_chromes([ProcessInfo(9, ("chromium --user-data-dir=/a b --no-first-run",))])

    assert (found[0].value("user-data-dir"), found[0].value("no-first-run")) == ("/a b", "")


@pytest.mark.parametrize(
    "words",
    [
        ("/opt/google/chrome/chrome", "--type=renderer", "--lang=en"),
        ("/opt/google/chrome/chrome_crashpad_handler", "--monitor-self"),
        ("/usr/bin/chromedriver", "--port=1"),
        ("python", "chrome"),
    ],
)
def test_a_browsers_helpers_are_no_browsers(words: tuple[str, ...]):
    assert running_chromes([ProcessInfo(9, words)]) == []


def test_the_browsers_of_this_machine_are_looked_for_where_none_are_given():
    assert all(one.pid for one in running_chromes())


def free_endpoint() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_chrome_that_does_not_run_is_a_warning_with_the_command_that_starts_it():
    found = browser.check_port(free_endpoint(), SILENT, [])

    assert found.verdict is Verdict.WARNING
    assert "fluxcap chrome" in found.fix


def test_the_port_on_the_default_profile_is_recognised():
    endpoint = free_endpoint()
    port = endpoint.partition(":")[2]

    found = browser.check_port(endpoint, SILENT, [chrome(f"--remote-debugging-port={port}")])
    chromium = browser.check_port(endpoint, SILENT, [chrome(f"--remote-debugging-port={port}", name="chromium")])

    assert found.verdict is Verdict.PROBLEM
    assert "default profile, where Chrome 136 and later ignore it" in found.text
    assert chromium.verdict is Verdict.WARNING


def test_a_chrome_without_the_port_is_named():
    found = browser.check_port(free_endpoint(), SILENT, [chrome()])

    assert found.verdict is Verdict.WARNING
    assert "process 7" in found.text


def test_a_port_that_something_else_holds_is_a_problem_that_names_it():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = ChromeUnavailable("Something other than Chrome answers on X; start Chrome on another port.")
        found = browser.check_port(f"127.0.0.1:{listener.getsockname()[1]}", error, [])

    assert found.verdict is Verdict.PROBLEM
    assert found.text == "Something other than Chrome answers on X."
    assert "held by " in found.fix


@pytest.mark.parametrize(
    ("flags", "verdict", "word"),
    [
        (["--user-data-dir=/p"], Verdict.OK, "profile /p"),
        ([], Verdict.OK, "default profile"),
        (["--remote-debugging-address=0.0.0.0"], Verdict.PROBLEM, "other machines"),
        (["--remote-debugging-address=127.0.0.1"], Verdict.OK, "profile"),
        (["--remote-allow-origins=*"], Verdict.WARNING, "every web page"),
    ],
)
def test_flags_that_open_the_browser_to_others_are_told(flags: list[str], verdict: Verdict, word: str):
    found = browser.check_flags([ChromeProcessInfo(71, "chrome", ()), chrome(*flags)], "process 7 (chrome)", Path("/q"))

    assert found.verdict is verdict
    assert word in found.text


def test_a_browser_that_cannot_be_seen_is_no_fault():
    assert browser.check_flags([chrome()], "", None).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("ahead_ms", "verdict", "word"),
    [
        (7_199_300, Verdict.OK, "+2 h"),
        (-700, Verdict.OK, "+0 h"),
        (19_800_000, Verdict.OK, "+5.5 h"),
        (7_440_000, Verdict.PROBLEM, "+7440 s"),
    ],
)
def test_stamps_that_fit_no_quarter_of_an_hour_mean_a_wrong_clock(ahead_ms: float, verdict: Verdict, word: str):
    found = browser.check_platform_clock(ahead_ms)

    assert found.verdict is verdict
    assert word in found.text


@pytest.mark.parametrize(
    ("kept_offset_ms", "verdict", "word"),
    [
        (7_200_000, Verdict.OK, "as in earlier runs"),
        (3_600_000, Verdict.PROBLEM, "but +1 h by earlier runs"),
        (None, Verdict.OK, "by this machine's clock alone"),
    ],
)
def test_a_clock_that_is_a_whole_hour_wrong_is_seen_by_the_offset_of_earlier_runs(
    kept_offset_ms: int | None, verdict: Verdict, word: str
):
    found = browser.check_platform_clock(7_199_300, kept_offset_ms)

    assert found.verdict is verdict
    assert word in found.text


def test_a_chrome_or_a_driver_that_is_not_installed_is_a_warning_and_a_wrong_path_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("FLUXCAP_CHROME_BINARY", str(tmp_path / "absent"))
    monkeypatch.setenv("FLUXCAP_CHROMEDRIVER", str(tmp_path / "absent"))
    wrong = browser.check_installed()

    def missing(*_: object) -> Path:
        raise ChromeUnavailable("No Chrome found; install it.")

    monkeypatch.setattr(browser, "find_chrome", missing)
    monkeypatch.setattr(browser, "find_chromedriver", missing)

    assert [found.verdict for found in wrong] == [Verdict.PROBLEM] * 2
    assert [(f.verdict, f.fix) for f in browser.check_installed()] == [(Verdict.WARNING, "Install it.")] * 2


BY_CONSENT = ConsentBrowser("Edge", "ws://127.0.0.1:9222/devtools/browser/x", "start")


def test_a_browser_that_will_ask_is_no_problem_and_the_click_is_told():
    found = browser.check_consent(BY_CONSENT, ConsentRecord())

    assert found.verdict is Verdict.OK
    assert "Edge on 127.0.0.1:9222" in found.text
    assert "click Allow" in found.text


def test_a_browser_whose_user_refused_is_told_with_the_command_that_asks_again():
    refused = ConsentRecord("start", "Edge", 1, Answer.REFUSED)

    found = browser.check_consent(BY_CONSENT, refused)

    assert (found.verdict, "fluxcap chrome --ask" in found.fix) == (Verdict.WARNING, True)
    assert browser.check_consent(BY_CONSENT, refused.wanting()).verdict is Verdict.OK


@pytest.mark.parametrize(("endpoint", "aside"), [("127.0.0.1:9222", True), ("[::1]:9222", False)])
def test_a_browser_on_ipv6_alone_is_told_as_that(endpoint: str, aside: bool):
    info = BrowserInfo("ws://[::1]:9222/devtools/browser/x", "Chrome/156", "1.3", "agent")

    found = browser.check_answer(info, endpoint)

    assert found.text.startswith("Chrome/156 answers on [::1]:9222.")
    assert ("another program holds port 9222 there" in found.text) is aside


def test_other_browsers_that_are_here_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("FLUXCAP_CHROME_BINARY", raising=False)
    found = [
        Installed(name, label, tmp_path / name, tmp_path)
        for name, label in (("chrome", "Google Chrome"), ("edge", "Microsoft Edge"))
    ]
    monkeypatch.setattr("fluxcap.capture.chrome.browsers.Machine.browsers", lambda _self: found)

    assert browser.check_installed()[0].text == f"{tmp_path / 'chrome'} is installed. Also here: Microsoft Edge."
    assert browser.check_installed("edge")[0].text == f"{tmp_path / 'edge'} is installed. Also here: Google Chrome."
    assert browser.check_installed("brave")[0].verdict is Verdict.PROBLEM
