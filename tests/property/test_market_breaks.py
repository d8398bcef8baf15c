"""Whatever breaks wherever: a candle is exact, or it says that it is not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fluxcap.capture.market.feeds import GapReason
from tests.support.examples import examples
from tests.support.market.simulated_market import EUR, GBP, LAG_MS, START_MS, Stage

STEP_MS = 500


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Acts of a page's life, each with its length in steps of half a second."""
    acts = st.sampled_from(
        ["tick", "tick", "tick", "dark", "reload", "reload_untold", "mute", "quiet", "backlog", "turn"]
    )
    return draw(st.lists(st.tuples(acts, st.integers(1, 30)), min_size=3, max_size=14))


def play(story: list[tuple[str, int]], interval_ms: int) -> Stage:
    stage = Stage(interval_ms)
    ts = START_MS + 130
    socket = 0
    lost = False
    shown = EUR

    def both(from_ms: int, steps: int, to: str | None) -> int:
        stage.ticks_of(from_ms, from_ms + steps * STEP_MS, (EUR, GBP), to)
        return from_ms + steps * STEP_MS

    ts = both(ts, 8, "s0")
    for act, steps in story:
        name = f"s{socket}"
        if lost and act != "dark":
            socket += 1
            name = f"s{socket}"
            lost = False
        if act == "tick":
            ts = both(ts, steps, name)
        elif act == "dark":
            if not lost:
                stage.lose(name, GapReason.TAB_CLOSED, ts + LAG_MS)
            lost = True
            ts = both(ts, steps, None)
        elif act in ("reload", "reload_untold"):
            stage.lose(name, GapReason.RELOADED, ts + LAG_MS)
            ts = both(ts, steps, None)
            socket += 1
            if act == "reload":
                stage.history(ts - 400_000, ts, shown, f"s{socket}", arrives_ms=ts + LAG_MS)
            ts = both(ts, 4, f"s{socket}")
        elif act == "mute" and steps > 6:  # the server drops what it should send, the socket stays
            ts = both(ts, 6 * steps, None)  # shorter, it is what the market of a young socket may do
        elif act == "quiet":  # one asset is quiet, the other is not
            stage.ticks_of(ts, ts + steps * STEP_MS, (GBP,), name)
            ts += steps * STEP_MS
        elif act == "backlog":  # all is held for a while and comes at once
            end = ts + steps * STEP_MS
            for at in range(ts, end, STEP_MS):
                stage.happen(at, EUR)
            stage.pass_time(end)
            for at in range(ts, end, STEP_MS):
                stage.tick(at, EUR, name, arrives_ms=end + LAG_MS, known=True)
            ts = end
        elif act == "turn":  # the page turns away, a tick is under way yet, and turns back
            other = GBP if shown == EUR else EUR
            stage.turn(other, name)
            stage.tick(ts, shown, name)
            for at in range(ts + STEP_MS, ts + (steps + 1) * STEP_MS, STEP_MS):
                stage.happen(at, shown)
                stage.tick(at + 1, other, name)
            ts += (steps + 1) * STEP_MS
            stage.turn(shown, name)
            if steps % 2:
                stage.history(ts - 400_000, ts, shown, name, arrives_ms=ts + LAG_MS - 20)
            ts = both(ts, 2, name)
    stage.ticks_of(ts, ts + 3 * STEP_MS, (EUR, GBP), f"s{socket}" if not lost else None)
    stage.pass_time(stage.now_ms + interval_ms + 20_000)
    return stage


@settings(max_examples=examples(120), deadline=None)
@given(stories(), st.sampled_from([1_000, 5_000, 15_000, 60_000]))
def test_breaks_at_any_place_lead_to_exact_candles_or_flagged_ones(
    story: list[tuple[str, int]], interval_ms: int
) -> None:
    stage = play(story, interval_ms)

    stage.assert_truthful()
