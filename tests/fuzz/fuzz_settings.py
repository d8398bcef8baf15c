"""Fuzzing of settings: ``python tests/fuzz/fuzz_settings.py --count 1000000 [--seed N] [--processes N]``.

Settings files and environment variables are damaged and loaded as every command loads them, and the platform that they
choose or describe is made. Either they are settings of sound types and ranges, or a ConfigError says in one sentence
what is wrong; nothing of a file that was refused stays behind.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))

from fluxcap.capture.chrome.endpoint import parse_endpoint
from fluxcap.capture.platforms import registry
from fluxcap.capture.runtime.settings import Settings, load_settings, variables_of
from fluxcap.capture.runtime.settings_sources import effective_settings, file_text
from fluxcap.schemas.errors import ConfigError
from fluxcap.schemas.types import StreamKey, interval_ms
from tests.fuzz.damage import NUMBERS, VALUES, damaged
from tests.fuzz.driver import MEMORY, Chapter, main

LONGEST = 2_000
"""Characters of what is told of a wrong setting, beside what it quotes."""
SOUND = (
    b"""chrome = "127.0.0.1:9222"
focus = ["EURUSD_otc", "GBPUSD_otc"]
interval = "5m"
source = "POCKETOPTION"
collect = "both"
tick_chunk_size = 1_000
candle_chunk_size = 100
data_dir = "data"
retention_days = 30
""",
    b"""platform = "binance"
source = "BINANCE"
focus = ["BTCUSDT"]
web = true
web_port = 0
web_origin = ["http://127.0.0.1:8080"]
grace_ms = 2000

[platforms.binance]
pages = ["https://www.binance.com/*/trade/*"]
sockets = ["wss://stream.binance.com*"]
messages = "data"
symbol = "s"
time = "T"
time_unit = "ms"
price = "p"
filter = { e = "trade" }
""",
    b"""platform = "other"
platform_url = ["mirror.example", "127.0.0.1:8080"]
[platforms.other]
kind = "generic"
pages = ["https://exchange.test/*"]
symbol = "trade.0"
time = "trade.1"
time_unit = "iso"
price = "trade.2"
""",
)
_VALUES = tuple(text.replace("\0", "") for text in (*NUMBERS, *VALUES))


class Files:
    """One file, written over and over, and variables beside it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._folder = tempfile.TemporaryDirectory(prefix="fluxcap-fuzz-", dir=MEMORY)
        self._path = Path(self._folder.name) / "fluxcap.toml"
        every = "".join(line.removeprefix("# ") + "\n" for line in file_text(defaultdict(str)).splitlines())
        self._seeds = (*SOUND, *SOUND, every.encode())
        self._variables = [variable for name in Settings.model_fields for variable in variables_of(name)]
        for variable in (*self._variables, "FLUXCAP_CONFIG"):
            os.environ.pop(variable, None)
        # Installed plug-ins are sought on the disk each time, which would take most of the time here.
        self._plug_ins = mock.patch.object(registry, "plug_ins", return_value=registry.BUILT_IN)
        self._plug_ins.start()

    def invent(self) -> tuple[bytes, dict[str, str]]:
        rng = self._rng
        text = damaged(rng.choice(self._seeds), rng, self._seeds) if rng.random() < 0.9 else rng.choice(SOUND)
        variables = {}
        if rng.random() < 0.2:
            value = rng.choice(_VALUES)
            if rng.random() < 0.5:
                value = damaged(b'{"x": {"pages": ["https://a.test/*"]}}', rng, self._seeds).decode("utf-8", "replace")
            variables[rng.choice(self._variables)] = value.replace("\0", "").encode("utf-8", "ignore").decode()
        return text, variables

    def take(self, data: tuple[bytes, dict[str, str]]) -> str:
        text, variables = data
        self._path.write_bytes(text)
        with _environment(variables):
            try:
                settings = load_settings(self._path)
            except ConfigError as error:
                _judge(error, data)
                return "refused"
            if self._rng.random() < 0.1:
                told = effective_settings(self._path, {})
                json.dumps([(one.name, one.value, one.origin.value, one.where) for one in told])
        _judge_settings(settings)
        try:
            parse_endpoint(settings.chrome)
            platform = registry.platform_named(settings.platform, settings.platform_url, settings.platforms)
            platform.is_page("https://exchange.test/x")
            platform.decoder().received(1, '{"data": {"e": "trade"}}')
        except ConfigError as error:
            _judge(error, data)
            return "loaded, but no such platform or address"
        return "loaded"

    def end(self) -> None:
        self._path.write_text("tick_chunk_size = 7\n")
        settings = load_settings(self._path)
        changed = {name for name in Settings.model_fields if getattr(settings, name) != getattr(Settings(), name)}
        assert changed == {"tick_chunk_size"}, f"left behind: {changed}"
        self._plug_ins.stop()
        self._folder.cleanup()


def _judge(error: ConfigError, data: tuple[bytes, dict[str, str]]) -> None:
    assert str(error).strip()
    quoted = len(data[0]) + sum(map(len, data[1].values()))
    assert len(str(error)) <= LONGEST + 4 * quoted, f"nobody reads {len(str(error))} characters"


def _judge_settings(settings: Settings) -> None:
    assert interval_ms(settings.interval) > 0
    StreamKey(settings.source, "x", settings.interval).topic().decode("ascii")
    for name in (
        "tick_chunk_size",
        "candle_chunk_size",
        "retention_days",
        "web_port",
        "allowed_lateness_ms",
        "idle_timeout_ms",
    ):
        value = getattr(settings, name)
        assert type(value) is int
        assert 0 <= value <= 10_000_000
    assert all(type(symbol) is str and symbol.strip() for symbol in settings.focus)
    assert type(settings.web) is bool


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)


def begin(rng: random.Random) -> Chapter:
    """A chapter."""
    return Files(rng)


if __name__ == "__main__":
    for variable in set(os.environ) - {"PATH", "HOME", "LANG"}:  # each is looked at for every input
        del os.environ[variable]
    sys.exit(main(begin, __doc__))
