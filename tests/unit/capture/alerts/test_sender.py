"""The way to those who read alerts: nobody waits for it, nothing is lost for a while, no address is ever shown."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from fluxcap.capture.alerts import sender as module
from fluxcap.capture.alerts.sender import WAITING_MAX, AlertSender, apprise_delivery, send_test_message
from fluxcap.capture.alerts.words import Message
from fluxcap.schemas.errors import ConfigError
from tests.support.patience import await_that

SECRET = "hunter2secret"
ONE, TWO = f"json://user:{SECRET}@127.0.0.1:1/{SECRET}", "json://127.0.0.1:2/two"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[logging.LogRecord]:
    """All that reaches the handler of the log, whoever says it, at any level."""
    found: list[logging.LogRecord] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    root, own = logging.getLogger(), logging.getLogger("fluxcap")
    monkeypatch.setattr(root, "handlers", [Handler()])
    monkeypatch.setattr(root, "level", logging.DEBUG)
    monkeypatch.setattr(own, "level", logging.DEBUG)
    monkeypatch.setattr(own, "propagate", True)
    monkeypatch.setattr(root.manager, "disable", 0)
    for logger in (root, own):
        logger._cache.clear()  # type: ignore[attr-defined]
    return found


def text(number: int = 0) -> Message:
    return Message(f"title {number}", "body")


class Post:
    """Takes messages, fails as often as told, and waits while it is shut."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.failures = 0
        self.tries = 0
        self.open = threading.Event()
        self.open.set()
        self.error: Callable[[], str] = lambda: "not reachable, or refused"

    def deliver(self, message: Message) -> str:
        self.tries += 1
        self.open.wait()
        if self.failures:
            self.failures -= 1
            return self.error()
        self.taken.append(message.title)
        return ""


@pytest.fixture
def posts() -> dict[str, Post]:
    return {ONE: Post(), TWO: Post()}


@pytest.fixture
def sender(posts: dict[str, Post]):
    made = AlertSender([ONE, TWO], lambda address, position: posts[address].deliver, pauses_s=(0.001,))
    made.start()
    yield made
    for post in posts.values():
        post.open.set()
    made.stop()


def test_every_address_gets_every_message_in_order(sender: AlertSender, posts: dict[str, Post]):
    for number in range(20):
        sender.post(text(number))

    expected = [f"title {number}" for number in range(20)]
    await_that(lambda: all(post.taken == expected for post in posts.values()), "all messages")


def test_whoever_posts_never_waits_and_others_get_theirs(sender: AlertSender, posts: dict[str, Post]):
    posts[ONE].open.clear()

    for number in range(10 * WAITING_MAX):
        sender.post(text(number))

    await_that(lambda: posts[TWO].taken[-1:] == [f"title {10 * WAITING_MAX - 1}"], "the other address's messages")
    assert posts[ONE].taken == []
    assert sender.view()[0].waiting <= WAITING_MAX


def test_a_failure_is_tried_again_and_nothing_is_lost(sender: AlertSender, posts: dict[str, Post]):
    posts[ONE].failures = 3

    sender.post(text(1))
    sender.post(text(2))

    await_that(lambda: posts[ONE].taken == ["title 1", "title 2"], "both messages")
    await_that(lambda: sender.view()[0].sent == 2, "both counted")
    assert sender.view()[0].error == ""


def test_of_too_many_the_oldest_are_given_up(sender: AlertSender, posts: dict[str, Post]):
    posts[ONE].open.clear()
    sender.post(text(0))
    await_that(lambda: posts[ONE].tries == 1, "the first try")

    for number in range(1, WAITING_MAX + 5):
        sender.post(text(number))
    posts[ONE].open.set()

    await_that(lambda: sender.view()[0].waiting == 0, "all of them")
    assert sender.view()[0].lost == 5
    assert posts[ONE].taken[1:] == [f"title {number}" for number in range(5, WAITING_MAX + 5)]


def test_a_failure_is_told_once_with_nothing_of_the_address(
    sender: AlertSender, posts: dict[str, Post], logged: list[logging.LogRecord]
):
    def crash() -> str:
        raise RuntimeError(f"cannot reach {ONE}")

    posts[ONE].failures, posts[ONE].error = 5, crash

    sender.post(text(1))
    await_that(lambda: sender.view()[0].sent == 1, "the message")

    events = [record for record in logged if record.name == "fluxcap"]
    assert [record.getMessage() for record in events] == ["alert.send_failed", "alert.send_recovered"]
    assert events[0].fields["address"] == "json://****"  # type: ignore[attr-defined]
    assert SECRET not in "".join(str(record.__dict__) for record in logged)
    assert SECRET not in repr(sender.view())


def test_it_ends_soon_although_an_address_does_not_answer(posts: dict[str, Post]):
    posts[ONE].open.clear()
    made = AlertSender([ONE], lambda address, position: posts[address].deliver)
    made.start()
    made.post(text())

    made.stop()  # returns

    assert posts[ONE].taken == []
    posts[ONE].open.set()


# --- apprise ---


@pytest.mark.costly
@pytest.mark.parametrize("address", [f"nosuch://{SECRET}", f"tgram://{SECRET}", f"{SECRET}", f"json://{SECRET}:pw@"])
def test_an_address_that_apprise_does_not_know_is_refused_by_its_position(
    address: str, logged: list[logging.LogRecord], capfd: pytest.CaptureFixture[str]
):
    with pytest.raises(ConfigError, match="Address 2 of alerts") as refused:
        apprise_delivery(address, 2)

    assert SECRET not in str(refused.value) + str(refused.value.__cause__) + "".join(capfd.readouterr())
    assert SECRET not in "".join(str(record.__dict__) for record in logged)


def test_a_test_message_tells_of_each_address_whether_it_was_taken():
    post = Post()
    post.failures = 1

    told = send_test_message([ONE, TWO], "MINE", lambda address, position: post.deliver)

    assert told == [("json://****", "not reachable, or refused"), ("json://****", "")]
    assert post.taken == ["fluxcap MINE: a test"]


@pytest.mark.costly
def test_without_the_extra_everything_else_works_and_who_asks_for_it_is_told_what_to_install(tmp_path):
    (tmp_path / "fluxcap.toml").write_text('alerts = ["json://127.0.0.1:1/"]\n')
    nowhere = ["--no-web", "--control-port", "0", "--pub", "tcp://127.0.0.1:0", "--rep", "tcp://127.0.0.1:0"]
    code = f"""
import sys
sys.modules["apprise"] = None  # an import of it fails, wherever it stands
from fluxcap.capture.cli.app import run_cli
print(run_cli(["alerts", "test"]), run_cli(["config", "show"]), run_cli(["run", *{nowhere}]))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)

    assert run.stdout.splitlines()[-1] == "2 0 2", run.stderr
    assert run.stderr.count(f"fluxcap: {module.WHAT_TO_INSTALL}\n") == 2
