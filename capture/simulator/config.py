"""Settings of the simulated trading site.

One frozen value; every field has the platform's measured behaviour as its default. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from fluxcap.capture.simulator.assets import load_assets
from fluxcap.schemas.errors import ConfigError

DEFAULT_ASSETS = (
    "EURUSD_otc",
    "GBPUSD_otc",
    "USDJPY_otc",
    "AUDCAD_otc",
    "EURGBP_otc",
    "USDINR_otc",
    "DOGE_otc",
    "ADA-USD_otc",
    "LBPUSD_otc",
    "EURUSD",
)

MAX_RATE_HZ = 250.0
"""Above this two ticks of an asset could share a millisecond, and the order of a tie would not be defined."""
MAX_PAUSE_S = 3_600.0
"""A market that trades more rarely is quiet."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets the real platform would send of its user, planted so that a test can search for each of them.

    The values are made up and unlike anything else that the site sends.
    """

    session: str = "s3cr3tSessionToken-7b1d4e"
    uid: str = "770011223"
    user_id: str = "660044551"
    balance: str = "48613.27"
    deal_id: str = "deal-5f0e9a41-c2d7"
    chat_text: str = "whispered-chat-line-93ab"
    sid_prefix: str = "Sid9xQ"
    """Every Engine.IO and Socket.IO session id begins with it."""

    def all(self) -> tuple[str, ...]:
        """Every planted string."""
        return tuple(str(getattr(self, entry.name)) for entry in fields(self))


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """Everything settable about a site. Raises ConfigError for what cannot be."""

    assets: tuple[str, ...] = DEFAULT_ASSETS
    """Symbols whose market is open, in the order of the favourites bar."""
    rate_hz: float = 2.1
    """Ticks a second of one OTC asset, keep-alive repeats included. Ordinary assets tick a fifth less."""
    thin: Mapping[str, float] = field(default_factory=dict)
    """Symbol to the mean pause between its trades, seconds, where they shall be rare and come at random."""
    offset_s: int = 7200
    """How far the platform's stamps are ahead of UTC, seconds."""
    date_off_s: int | None = 0
    """How far the ``Date`` headers of its responses are ahead of the truth, seconds; None: it sends none."""
    seed: int = 1
    """The same seed gives the same prices at the same instants, whatever connects and however often it starts."""
    lag_ms: tuple[float, float] = (700.0, 800.0)
    """From a tick's time to its sending, drawn evenly from this range, milliseconds."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 picks a free one."""
    truth_path: Path | None = None
    """JSONL file of what the market did; None keeps no record."""
    truth_append: bool = False
    """Continue an existing truth file (after a crash of the site, say) instead of starting a new one."""
    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    decimals: Mapping[str, int] = field(default_factory=dict)
    """Symbol to decimals, where it shall differ from the catalogue."""
    secrets: Secrets = Secrets()
    tick_all: bool = True
    """Send every asset to every market socket. False does as the platform: the open asset and those of ``subfor``."""
    history: bool = True
    """Answer with updateHistoryNewFast and loadHistoryPeriodFast."""
    history_s: float = 760.0
    """Depth of the raw ticks in updateHistoryNewFast, seconds."""
    history_max_ticks: int = 50_000
    pre_roll_s: float = 800.0
    """How much of the market before the start goes into the truth, seconds."""
    noise: bool = True
    """Send signals, chat and counters besides the ticks."""
    second_assets_s: float = 6.0
    """updateAssets is sent again this long after connecting, seconds."""

    def __post_init__(self) -> None:
        unknown = [symbol for symbol in (*self.assets, *self.decimals, *self.thin) if symbol not in load_assets()]
        if unknown:
            raise ConfigError(
                f"The simulated site has no asset {', '.join(unknown)}; see capture/simulator/assets.csv."
            )
        if not self.assets or len(set(self.assets)) != len(self.assets):
            raise ConfigError("Name at least one asset, and none twice.")
        if not 0 < self.rate_hz <= MAX_RATE_HZ:
            raise ConfigError(f"The rate must be above 0 and at most {MAX_RATE_HZ:.0f} ticks a second and asset.")
        if not 0 <= self.lag_ms[0] <= self.lag_ms[1]:
            raise ConfigError("The lag is a range in milliseconds, smaller first, such as (700, 800).")
        if any(not 0 < pause_s <= MAX_PAUSE_S for pause_s in self.thin.values()):
            raise ConfigError(f"The mean pause of a thin market is above 0 and at most {MAX_PAUSE_S:.0f} s.")
        if any(not 0 <= decimals <= 12 for decimals in self.decimals.values()):
            raise ConfigError("Decimals are between 0 and 12.")


def mean_pauses(typed: Iterable[str]) -> dict[str, float]:
    """``SYMBOL=SECONDS`` as people type it, for ``SiteConfig.thin``. Raises ConfigError."""
    found = {}
    for text in typed:
        symbol, _, pause_s = text.partition("=")
        try:
            found[symbol.strip()] = float(pause_s)
        except ValueError:
            raise ConfigError(f"{text!r} is no thin market; write it like EURUSD=30.") from None
    return found


PAGE_URL = "http://pocketoption.com/"
"""The page, for a Chrome started with ``platform_flags``. Its market socket is at ``ws://demo-api-eu.po.market``."""

_NAMES = ("pocketoption.com", "*.pocketoption.com", "*.po.market", "chat-po.site")


def platform_flags(port: int) -> tuple[str, ...]:
    """Command-line flags that make a Chrome find the platform's names at ``127.0.0.1:port``."""
    rules = ", ".join(f"MAP {name} 127.0.0.1:{port}" for name in _NAMES)
    return (
        f"--host-resolver-rules={rules}",
        f"--unsafely-treat-insecure-origin-as-secure={PAGE_URL.rstrip('/')}",
    )
