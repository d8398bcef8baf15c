"""capture/runtime/log_redaction.py: what looks like a secret does not reach the log; what does not, does."""

from __future__ import annotations

import pytest

from fluxcap.capture.runtime.log_redaction import REDACTED, redact, redact_fields

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        '42["auth",{"session":"SECRET","isDemo":1,"uid":77}]',
        '42["auth",{"session":"a:4:{s:10:\\"session_id\\";s:6:\\"SECRET\\";}"}]',
        's:10:"session_id";s:6:"SECRET";',
        's:10:\\"session_id\\";s:6:\\"SECRET\\";',
        '{"sid":"SECRET"}',
        '0{\\"sid\\":\\"SECRET\\",\\"pingInterval\\":25000}',
        "Cookie: a=SECRET; ci_session=SECRET",
        "Set-Cookie: x=SECRET",
        "Authorization: Bearer SECRET12345",
        "Authorization: Basic SECRET12345==",
        "https://pocketoption.com/en/?token=SECRET",
        "wss://user:SECRET@api.po.market/socket.io/?sid=SECRET",
        "https://pocketoption.com/#SECRET",
        "ci_session=SECRET",
        "password = 'SECRET'",
        "eyJSECRET.eyJSECRET.SECRET",
        f"key {TOKEN.replace('0123', 'SECRET01')} end",
    ],
)
def test_a_secret_is_taken_out(text: str) -> None:
    assert "SECRET" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "POCKETOPTION.EURUSD_otc.1m",
        "tcp://127.0.0.1:5556",
        "http://127.0.0.1:3001",
        "ws://127.0.0.1:9222/devtools/browser/3f2b1c9e-1111-2222-3333-444455556666",
        "/home/trader/some-folder/data_output/EURUSD_otc_ticks_2026_11_21_23_54_26_part001.csv",
        "Chrome does not answer; it may be frozen or very busy.",
        "Chrome/156.0.6998.35",
        "data/fluxcap.duckdb is held by another process: /usr/bin/python3.11 (PID 4711). Stop it.",
        "https://pocketoption.com/en/cabinet/demo-quick-high-low/",
        "No space left on device",
        "socket closed by server, code 1006",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_fields_are_redacted_by_their_names_too() -> None:
    fields = {"session": "x", "uid": 77, "auth_token": ["x"], "pid": 4711, "reason": "closed", "lag_ms": 1.5}

    assert redact_fields(fields) == {
        "session": REDACTED,
        "uid": REDACTED,
        "auth_token": REDACTED,
        "pid": 4711,
        "reason": "closed",
        "lag_ms": 1.5,
    }


def test_values_are_redacted_at_any_depth() -> None:
    fields = {"frames": [b'42["auth",{"session":"SECRET"}]', {"deep": ("ci_session=SECRET", None, True)}]}

    assert "SECRET" not in repr(redact_fields(fields))
