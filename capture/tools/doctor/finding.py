"""The doctor's findings: one line per subject. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec


class Verdict(enum.StrEnum):
    """The result of one check."""

    OK = "ok"
    WARNING = "warning"
    """Works, or will once something has been started; worth knowing."""
    PROBLEM = "problem"
    """Capture will not work, or not rightly, until it is mended."""


class Finding(msgspec.Struct, frozen=True):
    """One line. ``fix``: what to do, "" when all is well."""

    subject: str
    verdict: Verdict
    text: str
    fix: str = msgspec.field(default="", name="mend")


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, Verdict.OK, text)


def warning(subject: str, text: str, fix: str) -> Finding:
    return Finding(subject, Verdict.WARNING, text, fix)


def error_finding(subject: str, text: str, fix: str) -> Finding:
    return Finding(subject, Verdict.PROBLEM, text, fix)


def from_error(subject: str, error: Exception, *, is_problem: bool = True) -> Finding:
    """Our errors say in one message what happened; and what to do next."""
    happened, sign, todo = str(error).partition("; ")
    fix = todo[:1].upper() + todo[1:] if sign else ""
    return Finding(subject, Verdict.PROBLEM if is_problem else Verdict.WARNING, happened.rstrip(".") + ".", fix)


def exit_code(findings: Iterable[Finding]) -> int:
    """1 when there is a problem, else 0."""
    return int(any(finding.verdict is Verdict.PROBLEM for finding in findings))


def no_tab() -> Finding:
    """No page of the platform is open."""
    mend = "Open the trading page in that Chrome; a mirror's host is named with --platform-url."
    return warning("platform tab", "No tab of the platform is open.", mend)


def lookalike(host: str) -> Finding:
    """A page that is not the platform's looks like it."""
    text = f"The tab at {host} looks like the platform, but its address is on no list; it is not read."
    return warning("platform tab", text, f"If it is your trading page, start fluxcap with --platform-url {host}.")
