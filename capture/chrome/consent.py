"""The rules by which the user of a browser is asked for consent, and what is said meanwhile. Pure.

Chrome opens a dialog for every connection, so a program that tries again and again would be a nuisance and would teach
its user to click without reading. The rules: once for each start of the browser; again beside the same start (fluxcap
was started again, or its connection was lost) at most once an hour; not at all after a refusal, until the user says so.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime

import msgspec

HOUR_MS = 3_600_000
ALLOW = "click Allow in its dialog “Allow remote debugging?”"
ASK = "`fluxcap chrome --ask`"


class Answer(enum.StrEnum):
    """The end of the last dialog."""

    NONE = "none"
    """Not answered: open still, or lost with the browser or with fluxcap."""
    ALLOWED = "allowed"
    REFUSED = "refused"


class ConsentRecord(msgspec.Struct, frozen=True):
    """The last dialog, as it is remembered over restarts."""

    start: str = ""
    """The browser's start, as ``ConsentBrowser.start`` tells it; "" when nobody was asked yet."""
    label: str = ""
    """The browser's name for people."""
    asked_ms: int = 0
    """When it was asked, UTC epoch milliseconds."""
    answer: Answer = Answer.NONE
    wanted: bool = False
    """The user has said that the next look may ask, whatever the rules say."""

    def may_ask(self, start: str, now_ms: int) -> bool:
        """Return whether this start of a browser may be asked now. ``now_ms``: UTC epoch milliseconds."""
        if self.wanted:
            return True
        if self.answer is Answer.REFUSED:
            return False
        return start != self.start or not 0 <= now_ms - self.asked_ms < HOUR_MS

    def asking(self, start: str, label: str, now_ms: int) -> ConsentRecord:
        """Return the record as of a dialog that is about to open."""
        return ConsentRecord(start, label, now_ms)

    def answered(self, answer: Answer) -> ConsentRecord:
        """Return the record once it is known what became of the dialog."""
        return msgspec.structs.replace(self, answer=answer)

    def wanting(self) -> ConsentRecord:
        """Return the record once the user has said that it may ask."""
        return msgspec.structs.replace(self, wanted=True)

    def why_not(self) -> str:
        """Say why nobody is asked now, and what to do, where ``may_ask`` says no."""
        if self.answer is Answer.REFUSED:
            return f"You did not let fluxcap into {self.label} at {_clock(self.asked_ms)}; {ASK} asks again."
        return (
            f"fluxcap asked {self.label} at {_clock(self.asked_ms)} and asks again by itself at "
            f"{_clock(self.asked_ms + HOUR_MS)}; {ASK} asks now. A dialog that is still open is of an earlier run: "
            "click Cancel there first."
        )


def asking_sentence(label: str) -> str:
    """Say what to click while the dialog is open."""
    return f"{label} asks whether fluxcap may read the trading page; {ALLOW}."


def _clock(ms: int) -> str:
    """Return the local time of day: the sentence is for a person at this machine."""
    return f"{datetime.fromtimestamp(ms / 1_000, UTC).astimezone():%H:%M}"
