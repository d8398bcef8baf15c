"""``fluxcap status``: what the running daemon sees."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fluxcap.capture.cli.options import ControlUrl, DataDir, Json
from fluxcap.capture.runtime.output import say, say_json

MOST_FORMING = 10
"""Candles under way that `fluxcap status` shows."""


def status(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Show Chrome, tabs, sockets, clock offset, focus, streams with their ages, and counters."""
    from fluxcap.capture.runtime.discovery import find_daemon

    with find_daemon(data_dir, control) as daemon:
        seen = daemon.status()
    if as_json:
        say_json(seen)
        return
    from fluxcap.bridge.terminal.console import SafeConsole

    console = SafeConsole()
    for renderable in render(seen):
        console.print(renderable)


def render(seen: dict[str, Any]) -> list[Any]:
    """The status as rich renderables, most important first."""
    from rich.table import Table

    from fluxcap.bridge.terminal.console import plain

    seen = plain(seen)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, value in _facts(seen):
        facts.add_row(name, value)
    streams = Table(title=None, box=None, padding=(0, 1), header_style="dim")
    for column in ("stream", "feed", "sequence", "newest candle", "last tick"):
        justify: Literal["left", "right"] = "right" if column in ("sequence", "last tick") else "left"
        # Everything has room on 80 columns; should it not, then at least the name.
        width = max((len(stream["stream"]) for stream in seen["streams"]), default=0) if column == "stream" else None
        streams.add_column(column, justify=justify, min_width=width, no_wrap=True)
    for stream in seen["streams"]:
        streams.add_row(
            stream["stream"],
            _feed(stream["feed"]),
            str(stream["latest_sequence"]),
            _clock(stream["latest_ts_ms"], seen["server_time_ms"]),
            _age(stream["age_ms"]),
        )
    shown: list[Any] = [facts, "", streams] if seen["streams"] else [facts]
    derived = seen.get("derived_streams", ())
    if derived:
        intervals = dict.fromkeys(stream["stream"].rpartition(".")[2] for stream in derived)
        shown.append(f" and of the same candles {', '.join(intervals)} (UTC)")
    return [*shown, *_under_way(seen)]


def _under_way(seen: dict[str, Any]) -> list[Any]:
    """Return the candles that are forming as a table, and for a stream without any when its first whole one ends."""
    from rich.table import Table

    forming = [stream for stream in seen["streams"] if stream.get("forming")][:MOST_FORMING]
    if not forming:
        return []
    are_awaited = any(stream["first_whole_ms"] for stream in forming)
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for column in ("under way", "since", "close", "ticks", *(["first whole candle"] if are_awaited else [])):
        table.add_column(column, justify="right" if column in ("close", "ticks") else "left")
    for stream in forming:
        candle, first_ms, now_ms = stream["forming"], stream["first_whole_ms"], seen["server_time_ms"]
        cells = [stream["stream"], _clock(candle["ts_ms"], now_ms), f"{candle['close']:.10g}", str(candle["ticks"])]
        if first_ms:
            cells.append(f"{_clock(first_ms, now_ms)}, in {duration_text(max(0, first_ms - now_ms) / 1_000)}")
        table.add_row(*cells)
    hint = "[dim]`fluxcap reload` reloads the trading page, which brings its own history at once.[/]"
    return ["", table, *([hint] if are_awaited else [])]


def _facts(seen: dict[str, Any]) -> list[tuple[str, str]]:
    tabs = ", ".join(tab["url"] for tab in seen["tabs"]) or "no tab of the platform"
    focus = f"{seen['focus_mode']}: {', '.join(seen['focus_symbols']) or 'none yet'}"
    if seen.get("focus_unchecked"):
        focus += f"  [dim](not checked yet: {', '.join(seen['focus_unchecked'])})[/]"
    if seen["focus_unknown"]:
        focus += f"  [yellow](unknown on the platform: {', '.join(seen['focus_unknown'])})[/]"
    period_s = seen["detected_period_s"]
    facts = [
        ("fluxcap", f"{seen['version']}, process {seen['pid']}, up {duration_text(seen['uptime_s'])}"),
        ("chrome", f"{_chrome(seen['chrome'])} {seen['browser'] or seen['chrome_reason']}"),
        ("tabs", f"{tabs} ({seen['sockets']} sockets)"),
        *([("no candles", f"[yellow]{seen['no_candles']}[/]")] if seen.get("no_candles") else []),
        *(("not read", f"[yellow]{host}[/]: `--platform-url {host}` allows it") for host in seen.get("lookalikes", ())),
        *(("account", f"{asset}: only the {kind} one counts") for asset, kind in seen.get("accounts", {}).items()),
        ("clock", seen["clock_reason"]),
        ("focus", focus),
        ("detected", f"{seen['detected_asset'] or 'nothing yet'}{f' at {period_s} s' if period_s else ''}"),
        ("wire", f"{seen['pub']} (PUB), {seen['rep']} (requests)"),
        ("control", f"{seen['control']}, data in {seen['data_dir']}"),
        ("csv files", _collecting(seen["collect"])),
    ]
    if seen.get("forward"):
        facts.append(("nats", _forwarding(seen["forward"])))
    if seen.get("alerts"):
        facts.append(("alerts", _alerts(seen["alerts"])))
    facts.append(("agreement", _agreement(seen.get("agreement"))))
    notable = {name: n for name, n in seen["counters"].items() if n}
    if notable:
        facts.append(("counters", ", ".join(f"{name} {n}" for name, n in sorted(notable.items()))))
    if seen["store_trouble"]:
        facts.append(("store", f"[red]{seen['store_trouble']}[/]"))
    return facts


def _alerts(alerts: dict[str, Any]) -> str:
    """Say where alerts go, which wait, and what was told and goes on."""
    lines = [
        f"{one['address']}: {one['sent']} sent"
        + (f", [yellow]{one['waiting']} waiting ({one['error']})[/]" if one["error"] else "")
        + (f", [red]{one['lost']} given up[/]" if one["lost"] else "")
        for one in alerts["addresses"]
    ]
    told = [f"{one['asset']} {one['kind']}".strip() for one in alerts["open"]]
    return "\n".join([*lines, *([f"[yellow]told, and not over: {', '.join(told)}[/]"] if told else [])])


def _agreement(agreement: dict[str, Any] | None) -> str:
    """Say how many candles have the prices of the platform's own, and the newest that have not."""
    if not agreement or not agreement["compared"]:
        return "no candle was compared with the platform's own yet"
    compared, equal = agreement["compared"], agreement["equal"]
    text = f"{equal:,} of {compared:,} candles equal the platform's own"
    if equal == compared:
        return text
    newest = [agreement_line(one) for one in agreement["differing"][:3]]
    more = compared - equal - len(newest)
    return "\n".join([f"[yellow]{text}[/]", *newest, *([f"and {more:,} more: `fluxcap verify`"] if more else [])])


def agreement_line(one: dict[str, Any]) -> str:
    """Tell of one candle that differs, with the prices of both (open, high, low, close)."""
    when = datetime.fromtimestamp(one["ts_ms"] / 1_000, UTC)
    ours, theirs = (" ".join(f"{price:g}" for price in one[name]) for name in ("ours", "platform"))
    ticks = f"{one['kept_ticks']} ticks kept" if one["kept_ticks"] else "its ticks were no longer known"
    return f"{one['stream']} {when:%Y-%m-%d %H:%M:%S}: {ours}, the platform has {theirs} ({ticks})"


def _chrome(state: str) -> str:
    return f"[green]{state}[/]" if state == "attached" else f"[yellow]{state}[/]"


def _feed(state: str) -> str:
    colour = {"live": "green", "stalled": "yellow", "not_in_focus": "dim"}.get(state, "red")
    return f"[{colour}]{state.replace('_', ' ')}[/]"


def _collecting(collect: dict[str, Any]) -> str:
    text = f"collecting {collect['mode']}"
    if collect["files"]:
        text += f": {collect['ticks']} ticks, {collect['candles']} candles in {collect['files']} files"
    if collect["trouble"]:
        text += f"  [yellow](cannot write: {collect['trouble']}; {collect['waiting']} lines wait)[/]"
    if collect["lost"]:
        text += f"  [red]({collect['lost']} lines lost)[/]"
    return text


def _forwarding(forward: dict[str, Any]) -> str:
    """Return how far forwarding to NATS JetStream is."""
    from fluxcap.bridge.jetstream.forward.status import ForwardState

    colour = {"up to date": "green", "catching up": "cyan"}.get(forward["state"], "yellow")
    text = f"{forward['log']} [{colour}]{ForwardState(forward['state']).label}[/]"
    if forward["reason"]:
        text += f"  [yellow]({forward['reason']})[/]"
    if forward["behind"]:
        text += f"; waiting in the store: {forward['behind']:,}"
    for stream, reason in list(forward["held"].items())[:3]:
        text += f"  [red]({stream}: {reason})[/]"
    return text


def _clock(ts_ms: int, now_ms: int) -> str:
    """A time, with its date unless that is today's."""
    from datetime import UTC, datetime

    if not ts_ms:
        return "none yet"
    then, now = (datetime.fromtimestamp(ms / 1_000, UTC) for ms in (ts_ms, now_ms))
    return then.strftime("%H:%M:%SZ" if then.date() == now.date() else "%m-%d %H:%MZ")


def _age(age_ms: int | None) -> str:
    return "never" if age_ms is None else f"{duration_text(age_ms / 1_000)} ago"


def duration_text(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


clock_app = typer.Typer(help="The running daemon's clock.", no_args_is_help=True, rich_markup_mode=None)


@clock_app.command()
def trust(
    what: Annotated[
        str, typer.Argument(help="wall: this computer's clock is right. earlier: the offset of earlier runs is.")
    ],
    as_json: Json = False,
    data_dir: DataDir = None,
    control: ControlUrl = None,
) -> None:
    """Say which clock is right while they contradict each other.

    Needed only where no answer of the platform's own tells the time; `fluxcap reload` brings one.
    """
    from fluxcap.capture.market.clock import Trust
    from fluxcap.capture.runtime.discovery import find_daemon
    from fluxcap.schemas.errors import ConfigError

    if what not in list(Trust):
        raise ConfigError(f"{what!r} is no clock to trust; choose wall or earlier.")
    with find_daemon(data_dir, control) as daemon:
        seen = daemon.trust_clock(what)
    if as_json:
        say_json(seen)
    else:
        say(f"clock  {seen['clock_reason']}")


def reload(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Reload the trading page in your Chrome, as with F5.

    Its new connection tells the platform's own time, and its history fills what was missed.
    """
    from fluxcap.capture.runtime.discovery import find_daemon

    with find_daemon(data_dir, control) as daemon:
        pages = daemon.reload()
    if as_json:
        say_json({"pages": pages})
    elif pages:
        say(f"Reloaded {pages} page{'s' if pages > 1 else ''} of the platform.")
    else:
        say("No page of the platform is open: open it in Chrome.")


focus_app = typer.Typer(help="Asset focus of the running daemon.", no_args_is_help=True, rich_markup_mode=None)


@focus_app.command("set")
def set_(
    assets: Annotated[list[str], typer.Argument(help="Assets as you would type them: EURUSD_otc, 'EUR/USD OTC'…")],
    as_json: Json = False,
    data_dir: DataDir = None,
    control: ControlUrl = None,
) -> None:
    """Lock the focus to these assets; what charts and programs look at is added to them."""
    _set_focus("lock", as_json, data_dir, control, assets)


@focus_app.command()
def release(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Release the lock: follow the page again."""
    _set_focus("follow", as_json, data_dir, control)


@focus_app.command()
def follow(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Follow the asset that the page shows, and those that it showed before as long as it sends them."""
    _set_focus("follow", as_json, data_dir, control)


@focus_app.command("all")
def all_(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Take every asset that ticks."""
    _set_focus("all", as_json, data_dir, control)


@focus_app.command()
def get(as_json: Json = False, data_dir: DataDir = None, control: ControlUrl = None) -> None:
    """Show the focus, and the asset and timeframe detected on the page."""
    from fluxcap.capture.runtime.discovery import find_daemon

    with find_daemon(data_dir, control) as daemon:
        _show(daemon.focus(), as_json)


def _set_focus(
    mode: str, as_json: bool, data_dir: Path | None, control: str | None, assets: Sequence[str] = ()
) -> None:
    from fluxcap.capture.runtime.discovery import find_daemon

    with find_daemon(data_dir, control) as daemon:
        _show(daemon.set_focus(mode, assets), as_json)


def _show(focus: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(focus)
        return
    symbols = ", ".join(focus["symbols"]) or "none yet"
    say(f"focus     {focus['mode']}: {symbols}")
    if focus["unchecked"]:
        say(
            f"          not checked yet: {', '.join(focus['unchecked'])}. The platform sends its assets when the page "
            "loads; then `fluxcap focus get` shows whether they exist."
        )
    if focus["unknown"]:
        say(f"          unknown on the platform: {', '.join(focus['unknown'])}")
    detected, period_s = focus["detected_asset"], focus["detected_period_s"]
    say(f"detected  {detected or 'nothing yet'}{f' at {period_s} s' if period_s else ''}")


def collect_mode(
    mode: Annotated[
        str | None, typer.Argument(help="tick, candle, both or none; without it the present mode is shown.")
    ] = None,
    tick_chunk_size: Annotated[int | None, typer.Option(min=1, help="Ticks a file from now on.")] = None,
    candle_chunk_size: Annotated[int | None, typer.Option(min=1, help="Candles a file from now on.")] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    control: ControlUrl = None,
) -> None:
    """Choose what the running daemon writes to CSV files: ticks, candles, both or none.

    It lasts until the daemon ends; `fluxcap run --collect` chooses it from the start.
    """
    from fluxcap.capture.runtime.discovery import find_daemon
    from fluxcap.capture.runtime.settings import CollectMode
    from fluxcap.schemas.errors import ConfigError

    if mode is not None and mode not in list(CollectMode):
        raise ConfigError(f"{mode!r} is no collect mode; choose tick, candle, both or none.")
    given = {"tick_chunk_size": tick_chunk_size, "candle_chunk_size": candle_chunk_size}
    sizes = {name: size for name, size in given.items() if size is not None}
    with find_daemon(data_dir, control) as daemon:
        seen = daemon.set_collect_mode(mode, **sizes) if mode or sizes else daemon.collect_mode()
    if as_json:
        say_json(seen)
        return
    for line in _lines(seen):
        say(line)


def _lines(seen: dict[str, Any]) -> list[str]:
    lines = [
        f"collecting  {seen['mode']}, {seen['tick_chunk_size']} ticks or {seen['candle_chunk_size']} candles a file",
        f"folder      {seen['folder']}",
        f"written     {seen['ticks']} ticks, {seen['candles']} candles, {seen['files']} files",
    ]
    if seen["trouble"]:
        lines.append(f"error       {seen['trouble']}; {seen['waiting']} lines wait until it can be written")
    if seen["lost"]:
        lines.append(f"lost        {seen['lost']} lines")
    return lines
