"""One target: its state, what holds it, what of it is shown."""

from __future__ import annotations

from fluxcap.capture.chrome.messages import TargetInfo
from fluxcap.capture.chrome.target import Attachment, TabSnapshot, Target, TargetState


def test_new_target_is_not_attached() -> None:
    target = Target(TargetInfo("T", "page", "https://platform.test/"))

    assert target.state is TargetState.LOST
    assert target.session is None
    assert target.outer_id == ""


def test_worker_is_held_by_the_page_whose_session_brought_it() -> None:
    page, worker = Target(TargetInfo("T", "page")), Target(TargetInfo("W", "worker", parent_id="elsewhere"))
    worker.session = Attachment("S-W", worker, Attachment("S-T", page, None))

    assert worker.outer_id == "T"


def test_frame_is_held_by_the_target_the_browser_names() -> None:
    assert Target(TargetInfo("F", "iframe", parent_id="T")).outer_id == "T"


def test_snapshot_shows_the_state_and_no_query() -> None:
    target = Target(TargetInfo("T", "page", "https://platform.test/x?sid=SECRET", "title"))
    target.become(TargetState.SILENT)

    assert target.snapshot() == TabSnapshot("T", "page", "https://platform.test/x", "title", "silent")
