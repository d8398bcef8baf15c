"""``fluxcap export``: what was captured, as a file for other programs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxcap.capture.cli.options import ControlUrl, Debug, Json, Keys, curve_of
from fluxcap.capture.runtime.output import say, say_json

if TYPE_CHECKING:
    from fluxcap.schemas.types import Gap


def export(
    what: Annotated[str, typer.Argument(help="candles, ticks, gaps or revisions.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .csv or .parquet.", show_default=False)],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Candles of one stream for tradingview, metatrader5, freqtrade, or nautilus (a folder).",
            show_default=False,
        ),
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Assets, comma-separated, as you would type them.")] = None,
    source: Annotated[str | None, typer.Option(help="Source, such as POCKETOPTION.")] = None,
    interval: Annotated[str | None, typer.Option(help="Interval, such as 1m.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="Begin: 2026-11-21 or 2026-11-21T10:30 (UTC).", show_default=False)
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="End (exclusive); written as --from.", show_default=False)
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Data folder. [default: ./data, else your own]")] = None,
    rep: Annotated[str | None, typer.Option(help="Ask the server at this request endpoint.")] = None,
    control: ControlUrl = None,
    keys: Keys = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write candles, ticks, gaps or revisions to a CSV or Parquet file; whole or not at all.

    Reads the store of a stopped daemon, or asks the running one. Times are UTC. Candles come as the store has them
    now, with what revisions made of them. Ticks are not in the store: they come from the files that
    `fluxcap collect-mode tick` collects.
    """

    from fluxcap.bridge.export.export import ExportKind, TimeRange
    from fluxcap.bridge.export.formats import CandleFormat
    from fluxcap.capture.cli.options import progress_bar
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.capture.tools.export import ExportLocation, ExportRequest, parse_time
    from fluxcap.capture.tools.export import export as write
    from fluxcap.schemas.errors import ConfigError

    if what not in list(ExportKind):
        raise ConfigError(f"{what!r} cannot be exported; choose candles, ticks, gaps or revisions.")
    span = TimeRange(parse_time(from_) if from_ else 0, parse_time(to) if to else None)
    if span.to_ms is not None and span.to_ms <= span.from_ms:
        raise ConfigError("--to must be later than --from.")
    symbols = tuple(part.strip() for part in symbol.split(",") if part.strip()) if symbol else ()
    if form not in (None, *CandleFormat):
        raise ConfigError(f"{form!r} is no format; choose {', '.join(CandleFormat)}, or leave it out.")
    wanted = ExportRequest(ExportKind(what), out, source, symbols, interval, span, CandleFormat(form) if form else None)
    where = ExportLocation(data_dir or load_settings().data_dir, rep, control, curve_of(keys))
    with progress_bar(f"Exporting {what}") as begin:
        summary = write(wanted, where, begin)
    if as_json:
        say_json(summary)
        return
    several = f" of {len(summary.streams)} streams" if len(summary.streams) > 1 else ""
    size = f"{summary.bytes / 1e6:.1f} MB" if summary.bytes >= 100_000 else f"{summary.bytes:,} bytes"
    say(f"Wrote {summary.rows:,} {what}{several} to {summary.out} ({size}), read from the {summary.through}.")
    if summary.flagged:
        say(f"fluxcap: {summary.flagged:,} of these candles have flags, which {form} has no place for.", err=True)
    if summary.unreadable_lines:
        say(
            f"fluxcap: {summary.unreadable_lines:,} lines could not be read and were left out; "
            "`fluxcap verify` shows where.",
            err=True,
        )


def gaps(
    symbol: Annotated[str | None, typer.Option(help="Assets, comma-separated, as you would type them.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Begin: 2026-11-21 or 2026-11-21T10:30 (UTC).")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, written as --from.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Data folder. [default: ./data, else your own]")] = None,
    control: ControlUrl = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the times in which the feed of an asset was blind: from when to when (UTC), how long, and why.

    A quiet market on a working feed is no gap. Asks the running daemon, or reads the store of a stopped one.
    """
    from fluxcap.bridge.export.export import TimeRange, effective_gaps
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.capture.tools.export import ExportLocation, match_symbols, open_archive, parse_time

    span = TimeRange(parse_time(from_) if from_ else 0, parse_time(to) if to else None)
    with open_archive(ExportLocation(data_dir or load_settings().data_dir, None, control)) as (archive, _):
        found = [gap for gap in effective_gaps(archive.gaps()) if span.touches(gap)]
    typed = tuple(part.strip() for part in symbol.split(",") if part.strip()) if symbol else ()
    if typed and found:
        wanted = match_symbols(typed, (gap.symbol for gap in found)) | {""}
        found = [gap for gap in found if gap.symbol in wanted]
    if as_json:
        say_json([_as_json(gap) for gap in found])
        return
    if not found:
        say("No gaps.")
        return
    _print(found)


def _as_json(gap: Gap) -> dict[str, Any]:
    return {
        "source": gap.source_id,
        "symbol": gap.symbol,
        "from_ms": gap.from_ms,
        "to_ms": gap.to_ms or None,
        "open": not gap.to_ms,
        "reason": gap.reason,
    }


def _print(found: list[Gap]) -> None:
    from rich.table import Table

    from fluxcap.bridge.terminal.console import SafeConsole, plain
    from fluxcap.capture.cli.control import duration_text

    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("from (UTC)", "to", "lasted", "asset", "why"):
        table.add_column(name, justify="right" if name == "lasted" else "left", no_wrap=name != "why")
    for gap in found:
        lasted = duration_text((gap.to_ms - gap.from_ms) / 1_000) if gap.to_ms else ""
        end = _clock(gap.to_ms) if gap.to_ms else "[yellow]not over yet[/]"
        table.add_row(_clock(gap.from_ms), end, lasted, plain(gap.symbol) or "all", plain(gap.reason))
    SafeConsole().print(table)


def _clock(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1_000, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")


def verify(
    data_dir: Annotated[Path | None, typer.Option(help="Data folder. [default: ./data, else your own]")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Keep what is sound of a damaged store, in a new one in its place.")
    ] = False,
    aside: Annotated[
        bool, typer.Option("--set-aside", help="Rename a damaged store, so that the next start begins an empty one.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check store, tick journal and CSV files from end to end, changing nothing.

    Exit code 0: sound. 1: damage. 2: unknown, for example because the daemon runs. With --repair or --set-aside a sound
    store stays as it is; a damaged one is renamed, and nothing is ever deleted. A repaired store has a new identity:
    clients start over by themselves, but for those of wire version 1, whose cache has to be emptied.
    """
    if repair:
        _repair(data_dir, as_json)
        return
    if aside:
        _set_aside(data_dir, as_json)
        return
    import msgspec

    from fluxcap.bridge.store.verify import Verdict, verify_exit_code
    from fluxcap.capture.api.status import agreement_view
    from fluxcap.capture.cli.control import agreement_line
    from fluxcap.capture.cli.options import progress_bar
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.capture.tools.verify import verify_folder

    with progress_bar("Verifying") as begin:
        report = verify_folder(data_dir or load_settings().data_dir, begin)
    code = verify_exit_code(report.findings)
    agreement = agreement_view(report.agreement)
    if as_json:
        found = [{"verdict": f.verdict.name.lower(), "subject": f.subject, "text": f.text} for f in report.findings]
        told = {"verdict": Verdict(code).name.lower(), "checked": report.checked, "findings": found}
        say_json(told | {"agreement": msgspec.to_builtins(agreement)})
        raise typer.Exit(code)
    marks = {Verdict.SOUND: "note", Verdict.DAMAGE: "DAMAGE", Verdict.CANNOT_TELL: "cannot tell"}
    for finding in report.findings:
        say(f"{marks[finding.verdict]}: {finding.subject}: {finding.text}")
    if agreement.compared:
        say(f"{agreement.equal:,} of {agreement.compared:,} candles equal the platform's own.")
    for one in agreement.differing:
        say(f"differs: {agreement_line(msgspec.to_builtins(one))}")
    words = {Verdict.SOUND: "Sound", Verdict.DAMAGE: "Damaged", Verdict.CANNOT_TELL: "Cannot tell"}
    say(f"{words[Verdict(code)]}: {', '.join(f'{n} {what}' for what, n in report.checked.items())} checked.")
    raise typer.Exit(code)


def _repair(data_dir: Path | None, as_json: bool) -> None:
    import msgspec

    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.capture.tools.verify import repair_damaged

    report = repair_damaged(data_dir or load_settings().data_dir)
    if as_json:
        say(msgspec.json.encode({"repaired": report}).decode())
        return
    if report is None:
        say("The store is sound; it stays as it is.")
        return
    say(
        f"Kept {report.candles:,} candles of {report.streams} streams, {report.revisions:,} revisions and "
        f"{report.gaps:,} gaps in a new store; {report.lost_candles:,} candles are lost, `fluxcap gaps` says when."
    )
    if report.unread:
        say(f"Not all could be read of: {', '.join(report.unread)}.")
    if report.newest_may_be_lost:
        say("The newest candles may be lost, too; an open gap stands for them until the next start.")
    say(f"The damaged store is now {report.set_aside}. {_START_OVER}")


_START_OVER = (
    "Clients start over by themselves; those of wire version 1 do not notice, so empty their cache before they connect."
)


def restore(
    data_dir: Annotated[Path | None, typer.Option(help="Data folder. [default: ./data, else your own]")] = None,
    before: Annotated[
        str | None,
        typer.Option(help="Keep only what is older: now, or 2026-11-21T10:30 (UTC); for a clock that was ahead."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Give a store that was put back from a backup a new identity. Stop the daemon first.

    A backup is older than what clients have: it would give their sequences to other candles. With a new identity they
    start over by themselves, but for those of wire version 1, whose cache has to be emptied.

    With --before, candles of later times are deleted, too: a clock that was ahead had stamped them.
    """
    import time

    import msgspec

    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.capture.tools.export import parse_time
    from fluxcap.capture.tools.verify import restore as renew

    now_ms = time.time_ns() // 1_000_000
    before_ms = None if before is None else now_ms if before == "now" else parse_time(before)
    report = renew(data_dir or load_settings().data_dir, before_ms)
    if as_json:
        say(msgspec.json.encode(report).decode())
        return
    say(f"The store has a new identity, and its {report.candles:,} candles of {report.streams} streams. {_START_OVER}")
    if before is not None:
        say(f"{report.deleted:,} candles of later times were deleted.")


def _set_aside(data_dir: Path | None, as_json: bool) -> None:
    from fluxcap.capture.runtime.settings import load_settings
    from fluxcap.capture.tools.verify import quarantine_damaged

    target = quarantine_damaged(data_dir or load_settings().data_dir)
    if as_json:
        say_json({"set_aside": str(target) if target else None})
    elif target is None:
        say("The store is sound; it stays where it is.")
    else:
        say(f"The damaged store is now {target}. The next start begins an empty one, with sequences from 1.")
