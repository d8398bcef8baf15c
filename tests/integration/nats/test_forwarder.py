"""The forwarder against a real nats-server: what the store has is on the log, in order, once, whatever happens."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxcap.bridge.jetstream.forward import forwarder as forwarder_module
from fluxcap.bridge.jetstream.forward import session as forward_session
from fluxcap.bridge.jetstream.forward.checkpoint import FOLDER
from fluxcap.bridge.jetstream.forward.forwarder import Forwarder
from fluxcap.bridge.jetstream.forward.status import ForwardState
from fluxcap.bridge.jetstream.forward.wire_source import WireSource
from fluxcap.bridge.jetstream.publisher import AsyncPublisher
from fluxcap.bridge.jetstream.subjects import STREAM_NAME, message_id, position_of, revision_id, subject
from fluxcap.schemas.codec import decode, encode
from fluxcap.schemas.types import CandleBatch, StreamKey
from tests.support.nats.forward_rig import (
    Desk,
    ask_log,
    assert_log_is_store,
    await_current,
    await_view,
    fold,
    make_stream,
    minutes,
    parse_address,
    read_log,
)
from tests.support.nats.nats_rig import NatsServer

KEY = StreamKey("DESK", "EURUSD_otc", "1m")
OTHER = StreamKey("DESK", "GBPUSD_otc", "1m")


@pytest.fixture
def server(nats_server: Callable[..., NatsServer]) -> NatsServer:
    return nats_server()


@pytest.fixture
def desk(server: NatsServer, tmp_path: Path) -> Iterator[Desk]:
    """A store, and a log that is ready for it."""
    with Desk(tmp_path / "desk", server.url) as desk:
        make_stream(desk.address)
        yield desk


def test_every_batch_and_revision_is_on_the_log_in_order_as_the_wire_has_it(desk: Desk):
    forwarder = desk.forward()
    store_id = desk.server.store_id
    desk.publish(KEY, 1, 3)
    await_current(forwarder)
    desk.publish(KEY, 4, 4)
    await_current(forwarder)
    desk.revise(KEY, 2, 3)
    await_current(forwarder)
    desk.publish(KEY, 5, 5)
    await_current(forwarder)

    messages = read_log(desk.address)[KEY]

    assert {message.subject for message in messages} == {"flux.candles.DESK.EURUSD_otc.1m"}
    assert [message.headers["Nats-Msg-Id"] for message in messages] == [
        message_id(store_id, KEY, 1),
        message_id(store_id, KEY, 4),
        revision_id(store_id, KEY, 1),
        message_id(store_id, KEY, 5),
    ]
    assert messages[0].payload == encode(CandleBatch(KEY, 1, minutes(1, 3)))
    assert position_of(messages[-1].headers).first_sequence == 1
    assert_log_is_store(desk.address, desk.server)


def test_symbols_of_any_kind_have_subjects_of_their_own(desk: Desk):
    symbols = ("EUR/USD OTC", "a.b", "a%2Eb", "*", ">", "#AAPL_otc", "é€", "x y")
    for symbol in symbols:
        desk.server.publish({StreamKey("DESK", symbol, "1m"): minutes(1, 2)})

    await_current(desk.forward())

    assert {key.symbol for key in read_log(desk.address)} == set(symbols)
    assert_log_is_store(desk.address, desk.server)


def test_a_log_that_was_away_gets_all_of_it_and_capture_never_waited(
    nats_server: Callable[..., NatsServer], tmp_path: Path
):
    server = nats_server()
    with Desk(tmp_path / "desk", server.url) as desk:
        make_stream(desk.address)
        server.kill()
        forwarder = desk.forward()
        await_view(forwarder, lambda view: view.state is ForwardState.UNAVAILABLE)
        begun_s = time.monotonic()
        desk.publish(KEY, 1, 5_000)
        desk.publish(OTHER, 1, 1_000)
        desk.revise(KEY, *range(10, 40))
        took_s = time.monotonic() - begun_s
        server.start()

        await_current(forwarder)

        assert took_s < 30
        assert_log_is_store(desk.address, desk.server)
        assert "UNAVAILABLE" in desk.notices()


def test_a_server_killed_and_started_again_holds_everything_once(desk: Desk, server: NatsServer):
    forwarder = desk.forward()
    at = 1
    for _ in range(4):
        for _ in range(20):
            desk.publish(KEY, at, at)
            desk.publish(OTHER, at, at)
            at += 1
        server.kill()
        desk.publish(KEY, at, at)
        desk.publish(OTHER, at, at)
        desk.revise(KEY, at, at - 3)
        at += 1
        server.start()

    await_current(forwarder)

    assert_log_is_store(desk.address, desk.server)


def test_a_forwarder_that_forgot_everything_repeats_nothing_beyond_the_duplicate_window(
    nats_server: Callable[..., NatsServer], tmp_path: Path
):
    server = nats_server()
    with Desk(tmp_path / "desk", server.url) as desk:
        make_stream(desk.address, duplicate_window_ns=100_000_000)
        desk.publish(KEY, 1, 700)
        desk.revise(KEY, 5)
        first = desk.forward(tmp_path / "one")
        await_current(first)
        first.stop()
        time.sleep(0.3)  # the window, several times over

        view = await_current(desk.forward(tmp_path / "two"))

        assert view.counters == {}
        assert_log_is_store(desk.address, desk.server)


def test_messages_whose_answers_were_lost_are_not_sent_twice(
    desk: Desk, server: NatsServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(forwarder_module, "AsyncPublisher", functools.partial(AsyncPublisher, ack_timeout_s=0.2))
    forwarder = desk.forward()
    desk.publish(KEY, 1, 1)
    await_current(forwarder)
    for n in range(2, 5):
        server.pause()
        desk.publish(KEY, n, n)
        await_view(forwarder, lambda view: view.state is ForwardState.UNAVAILABLE)
        server.resume()
        await_current(forwarder)

    assert assert_log_is_store(desk.address, desk.server) == 4


def test_two_forwarders_of_one_store_share_the_work_and_repeat_nothing(desk: Desk, tmp_path: Path):
    one, two = desk.forward(tmp_path / "one"), desk.forward(tmp_path / "two")
    for n in range(1, 61):
        desk.publish(KEY, n, n)
        desk.publish(OTHER, n, n)
        if n % 20 == 0:
            desk.revise(KEY, n - 1)

    await_current(one)
    await_current(two)

    assert_log_is_store(desk.address, desk.server)


def test_the_log_is_asked_when_another_forwarder_was_quicker(desk: Desk, tmp_path: Path):
    one = desk.forward(tmp_path / "one")
    desk.publish(KEY, 1, 1)
    await_current(one)
    two = desk.forward(tmp_path / "two")
    await_current(two)
    desk.sources.pop()  # the second one hears nothing, and so its idea of the log grows old
    for n in range(2, 6):
        desk.publish(KEY, n, n)
        await_current(one)

    await_current(two)

    assert assert_log_is_store(desk.address, desk.server) == 5


def test_a_new_store_follows_the_old_one_and_says_so(desk: Desk, server: NatsServer, tmp_path: Path):
    desk.publish(KEY, 1, 10)
    old = desk.forward()
    await_current(old)
    with Desk(tmp_path / "new", server.url) as new:
        new.publish(KEY, 5, 8)

        await_current(new.forward(desk.folder))

        messages = read_log(desk.address)[KEY]
        stores = [position_of(message.headers).store_id for message in messages]
        assert stores == [desk.server.store_id, new.server.store_id]
        assert fold(messages[1:]).tobytes() == minutes(5, 8).tobytes()
        assert ("NEW_STORE", {"stream": str(KEY), "store": new.server.store_id}) in new.told


def test_of_two_stores_under_one_name_the_older_one_stops_and_says_why(desk: Desk, server: NatsServer, tmp_path: Path):
    old = desk.forward()
    desk.publish(KEY, 1, 2)
    await_current(old)
    with Desk(tmp_path / "new", server.url) as new:
        new.publish(KEY, 1, 3)
        newer = new.forward()
        await_current(newer)
        desk.publish(KEY, 3, 4)
        view = await_view(old, lambda view: bool(view.blocked_streams))
        new.publish(KEY, 4, 5)
        await_current(newer)

        assert "another store publishes under this name" in view.blocked_streams[str(KEY)]
        assert view.state is ForwardState.UP_TO_DATE
        assert "BLOCKED" in desk.notices()
        assert fold(read_log(desk.address)[KEY][1:]).tobytes() == minutes(1, 5).tobytes()


def test_a_store_that_went_back_and_took_another_way_is_not_mixed_in(desk: Desk):
    with Desk(desk.folder / "copy", str(desk.address)) as copy:
        copy.server.store._cursor.rows("UPDATE meta SET value = ? WHERE name = 'store_id'", (desk.server.store_id,))
        copy.server.store.store_id = desk.server.store_id
        desk.publish(KEY, 1, 10)
        await_current(desk.forward())
        copy.publish(KEY, 1, 5)
        back = copy.forward()
        waiting = await_view(back, lambda view: bool(view.blocked_streams))
        copy.publish(KEY, 7, 13)

        blocked = await_view(back, lambda view: "restored from a backup" in view.blocked_streams.get(str(KEY), ""))

        assert waiting.blocked_streams[str(KEY)] == "JetStream is ahead of this store"
        assert blocked.blocked_streams
        assert assert_log_is_store(desk.address, desk.server) == 1


def test_what_the_store_forgot_before_it_was_forwarded_is_a_hole_that_is_told(desk: Desk):
    forwarder = desk.forward()
    desk.publish(KEY, 1, 4)
    await_current(forwarder)
    forwarder.stop()
    desk.publish(KEY, 5, 20)
    desk.server.prune(15 * 60_000)

    again = await_current(desk.forward())

    messages = read_log(desk.address)[KEY]
    assert again.counters["pruned"] == 10
    assert ("PRUNED", {"stream": str(KEY), "candles": 10}) in desk.told
    assert decode(messages[-1].payload).message.start_sequence == 15  # type: ignore[union-attr]
    assert position_of(messages[-1].headers).latest_sequence == 20


def test_what_the_log_forgot_is_not_sent_again(desk: Desk):
    first = desk.forward()
    desk.publish(KEY, 1, 10)
    await_current(first)
    first.stop()
    ask_log(desk.address, f"STREAM.PURGE.{STREAM_NAME}", {"filter": subject(KEY)})
    desk.publish(KEY, 11, 12)

    await_current(desk.forward())

    assert fold(read_log(desk.address)[KEY], from_sequence=11).tobytes() == minutes(11, 12).tobytes()


def test_what_a_server_lost_of_its_newest_is_sent_again(desk: Desk, server: NatsServer):
    """As a power failure does: NATS leaves what is newest to the operating system for two minutes."""
    first = desk.forward()
    for n in range(1, 6):
        desk.publish(KEY, n, n)
        await_current(first)
    first.stop()
    for position in (4, 5):
        ask_log(desk.address, f"STREAM.MSG.DELETE.{STREAM_NAME}", {"seq": position})
    server.kill()  # while it runs, 2.9 does not find a subject's last message once that was deleted
    server.start()

    await_current(desk.forward())

    assert_log_is_store(desk.address, desk.server)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_stream_that_a_server_lost_wholly_is_sent_again(
    desk: Desk, server: NatsServer, tmp_path: Path, restarts: bool
):
    """As a power failure does with one that has just begun."""
    server.kill()
    shutil.copytree(server.folder / "log", tmp_path / "flushed")
    server.start()
    forwarder = desk.forward()
    desk.publish(KEY, 1, 20)
    desk.revise(KEY, 3)
    await_current(forwarder)
    if restarts:
        forwarder.stop()
    server.kill()
    shutil.rmtree(server.folder / "log")
    shutil.copytree(tmp_path / "flushed", server.folder / "log")
    server.start()
    if restarts:
        forwarder = desk.forward()

    sent = 1 if restarts else 2
    await_view(forwarder, lambda view: view.counters.get("revisions", 0) == sent)

    await_current(forwarder)
    assert_log_is_store(desk.address, desk.server)


def test_a_log_made_anew_gets_all_there_is(desk: Desk):
    first = desk.forward()
    desk.publish(KEY, 1, 10)
    await_current(first)
    first.stop()
    ask_log(desk.address, f"STREAM.DELETE.{STREAM_NAME}")
    make_stream(desk.address)

    await_current(desk.forward())

    assert_log_is_store(desk.address, desk.server)


@pytest.mark.parametrize("quiet", [False, True])
def test_a_log_made_anew_under_a_forwarder_gets_all_there_is(desk: Desk, monkeypatch: pytest.MonkeyPatch, quiet: bool):
    """By the next message, or, where there is none, by a look now and then."""
    monkeypatch.setattr(forwarder_module, "REJECTED_WAIT_S", 0.1)  # it may look while there is no log at all
    monkeypatch.setattr(forward_session, "STREAM_CHECK_S", 0.1 if quiet else 1_000.0)
    forwarder = desk.forward()
    for n in range(1, 11):
        desk.publish(KEY, n, n)
        desk.publish(OTHER, n, n)
    await_current(forwarder)
    ask_log(desk.address, f"STREAM.DELETE.{STREAM_NAME}")
    make_stream(desk.address)
    if not quiet:
        desk.publish(KEY, 11, 11)

    await_view(forwarder, lambda view: view.counters["candles"] >= (40 if quiet else 41))

    await_current(forwarder)
    assert_log_is_store(desk.address, desk.server)


def test_a_missing_stream_is_told_with_what_to_do_and_waited_for(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(forwarder_module, "REJECTED_WAIT_S", 0.1)
    with Desk(tmp_path / "desk", server.url) as desk:
        desk.publish(KEY, 1, 2)
        forwarder = desk.forward()
        view = await_view(forwarder, lambda view: view.state is ForwardState.REJECTED)
        make_stream(desk.address)

        await_current(forwarder)

        assert "fluxcap forward --setup" in view.reason
        assert_log_is_store(desk.address, desk.server)


def test_wrong_credentials_are_told_without_the_secret(nats_server: Callable[..., NatsServer], tmp_path: Path):
    server = nats_server('authorization { user: "desk", password: "right-one" }')
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('user = "desk"\npassword = "s3cret-and-wrong"\n')
    with Desk(tmp_path / "desk", server.url, wrong) as desk:
        forwarder = desk.forward()
        desk.publish(KEY, 1, 2)

        view = await_view(forwarder, lambda view: view.state is ForwardState.REJECTED)

        assert "rejected the credentials" in view.reason
        assert "REJECTED" in desk.notices()
        assert "s3cret" not in repr((view, desk.told, desk.address, desk.address.credentials))
        assert desk.server.watermark(KEY).latest_sequence == 2


PERMISSIONS = """
authorization {{ users: [
  {{ user: "admin", password: "a" }}
  {{ user: "desk", password: "d", permissions: {{ publish: [{publish}, "$JS.API.>"], subscribe: "_INBOX.>" }} }}
] }}
"""


@pytest.mark.parametrize(("publish", "allowed"), [('"flux.>"', True), ('"flux.candles.>"', True), ('"other.>"', False)])
def test_a_user_who_may_forward_needs_no_more_and_one_who_may_not_is_told(
    nats_server: Callable[..., NatsServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    publish: str,
    allowed: bool,
):
    monkeypatch.setattr(forwarder_module, "AsyncPublisher", functools.partial(AsyncPublisher, ack_timeout_s=60))
    admin, user = tmp_path / "admin.toml", tmp_path / "desk.toml"
    admin.write_text('user = "admin"\npassword = "a"')
    user.write_text('user = "desk"\npassword = "d"')
    server = nats_server(PERMISSIONS.format(publish=publish))
    make_stream(parse_address(server.url, admin))
    with Desk(tmp_path / "desk", server.url, user) as desk:
        desk.publish(KEY, 1, 3)
        forwarder = desk.forward()

        if allowed:
            await_current(forwarder)
        else:
            view = await_view(forwarder, lambda view: view.state is ForwardState.REJECTED)
            assert "may not do that" in view.reason
            assert "flux.candles." in view.reason


def test_a_log_that_is_full_holds_the_stream_until_there_is_room(server: NatsServer, tmp_path: Path):
    with Desk(tmp_path / "desk", server.url) as desk:
        make_stream(desk.address, max_bytes=100_000)
        config = ask_log(desk.address, f"STREAM.INFO.{STREAM_NAME}")["config"]
        ask_log(desk.address, f"STREAM.UPDATE.{STREAM_NAME}", config | {"discard": "new"})
        desk.publish(KEY, 1, 3_000)
        forwarder = desk.forward()
        held = await_view(forwarder, lambda view: bool(view.blocked_streams))
        ask_log(desk.address, f"STREAM.UPDATE.{STREAM_NAME}", config | {"discard": "new", "max_bytes": 10_000_000})

        await_current(forwarder)

        assert "JetStream rejected it" in held.blocked_streams[str(KEY)]
        assert_log_is_store(desk.address, desk.server)


def test_messages_are_made_as_small_as_the_log_wants_them(desk: Desk):
    config = ask_log(desk.address, f"STREAM.INFO.{STREAM_NAME}")["config"]
    ask_log(desk.address, f"STREAM.UPDATE.{STREAM_NAME}", config | {"max_msg_size": 5_000})
    desk.publish(KEY, 1, 700)
    desk.revise(KEY, *range(1, 200))

    await_current(desk.forward())

    assert assert_log_is_store(desk.address, desk.server) > 10


def test_a_daemon_is_forwarded_over_its_wire_also_when_it_starts_anew(desk: Desk, tmp_path: Path):
    server = desk.server
    desk.publish(KEY, 1, 600)
    source = WireSource(server.pub_endpoint, server.rep_endpoint)
    with Forwarder(source, desk.address, tmp_path / "beside") as forwarder:
        await_current(forwarder)
        desk.publish(KEY, 601, 601)
        desk.publish(OTHER, 1, 3)
        desk.revise(KEY, 600)
        server.heartbeat(1)
        await_view(forwarder, lambda view: view.counters.get("candles", 0) >= 604)
        await_current(forwarder)
        assert_log_is_store(desk.address, server)
        server.close()
        away = await_view(forwarder, lambda view: bool(view.source_error))
        desk.server = type(server)(desk.folder / "fluxcap.duckdb", server.pub_endpoint, server.rep_endpoint)
        desk.publish(KEY, 602, 605)

        await_view(forwarder, lambda view: view.counters["candles"] >= 608)

        assert "connection lost" in away.source_error
        assert_log_is_store(desk.address, desk.server)


def test_what_is_remembered_lies_in_the_data_folder_in_one_piece(desk: Desk):
    forwarder = desk.forward()
    desk.publish(KEY, 1, 10)
    await_current(forwarder)

    forwarder.stop()

    [file] = (desk.folder / FOLDER).iterdir()
    remembered = json.loads(file.read_text())
    assert remembered["subjects"][subject(KEY)]["position"]["latest_sequence"] == 10
