"""Every event that fluxcap logs: its token, the sentence on a terminal, its meaning and what to do.

Tokens are ``noun.verb`` and stable: alert rules may match them. With ``--log-json`` an event is ``{"ts", "level",
"event", "message", …fields}``: ``event`` is the token, ``message`` the sentence. A record of a library comes as
``library.log``, with ``logger`` and its own text as ``message``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One kind of event, in words for people."""

    sentence: str
    """Shown on a terminal and as ``message``, before the fields; without a full stop."""
    meaning: str
    """When it appears, and what it means for the data."""
    action: str
    """What the operator should do."""
    alert: bool = False
    """Worth an alert: data is lost or waits, or fluxcap has a fault."""


_REPORT = "This is a fault in fluxcap."

EVENTS: dict[str, LogEvent] = {
    # the daemon
    "daemon.started": LogEvent("fluxcap is running", "All ports are open; the fields name them.", "nothing"),
    "daemon.start_failed": LogEvent(
        "fluxcap cannot start",
        "Only with `--log-json` or `--log-file`; without them the sentence in `reason` is printed as every command's.",
        "do what `reason` says",
        alert=True,
    ),
    "daemon.stopped": LogEvent(
        "fluxcap has stopped", "Everything was written and closed.", "nothing, if you stopped it"
    ),
    "daemon.run_file_write_failed": LogEvent(
        "The run file cannot be written; retrying every second",
        "Commands do not find this daemon yet.",
        "free space in the data folder; capture goes on",
        alert=True,
    ),
    "daemon.run_file_written": LogEvent("The run file is written", "Commands find this daemon now.", "nothing"),
    "pipeline.crashed": LogEvent(
        "The capture pipeline crashed",
        f"{_REPORT} The daemon exits with code 1.",
        "start it again (a service does); send us the log",
        alert=True,
    ),
    "thread.crashed": LogEvent(
        "A thread crashed",
        f"{_REPORT} The daemon exits with code 1.",
        "start it again (a service does); send us the log",
        alert=True,
    ),
    "listener.error": LogEvent(
        "A listener failed",
        f"{_REPORT} CSV files, Socket.IO or metrics may miss data; the store does not.",
        "send us the log",
        alert=True,
    ),
    "library.log": LogEvent(
        "A library logged a warning",
        "A warning of a library, of the store or of the wire server.",
        "read `message`; report an error that repeats",
    ),
    # the clock
    "clock.settled": LogEvent(
        "The platform's clock is known",
        "Ticks get their time; `offset_h` is the platform's offset from UTC in hours, `by` what it stands on.",
        "nothing",
    ),
    "clock.corrected": LogEvent(
        "The clock was wrong and is corrected",
        "Candles had been published under wrong times: they are published again for their true ones, and what is not "
        "known is revised to BLIND, with a gap.",
        "set this computer's clock (NTP); tell those who used the candles",
        alert=True,
    ),
    "clock.in_question": LogEvent(
        "Clock in question",
        "The witnesses of the time contradict each other; `reason` says which. Before the first candle nothing is "
        "published and ticks are kept.",
        "`fluxcap reload`, or `fluxcap clock trust wall` or `fluxcap clock trust earlier`",
        alert=True,
    ),
    "clock.computer_wrong": LogEvent(
        "This computer's clock is wrong",
        "It is `seconds` ahead of the platform's own (behind, if negative). Candles do not depend on it.",
        "set it (NTP)",
        alert=True,
    ),
    "clock.computer_right": LogEvent(
        "This computer's clock is right again", "It agrees with the platform's own.", "nothing"
    ),
    "clock.computer_stepped": LogEvent(
        "This computer's clock was set",
        "It jumped by `seconds` while fluxcap ran. Candles do not move.",
        "nothing, if it is right now",
    ),
    "computer.woke": LogEvent(
        "This computer slept and is awake again",
        "For `slept_s` seconds. Candles of that time are filled by the page's history, or stand as gaps; Chrome is "
        "looked for at once.",
        "nothing; if the page does not move again, reload it: `fluxcap reload`",
    ),
    "clock.store_ahead": LogEvent(
        "The store has candles of times yet to come",
        "A clock that was ahead by about `seconds` had stamped them. They are revised to BLIND, and to the true candle "
        "as its time comes; a stream more than a day ahead is not continued.",
        "nothing; for one more than a day ahead: stop, `fluxcap restore --before now`, start",
        alert=True,
    ),
    # Chrome
    "chrome.unavailable": LogEvent(
        "Waiting for Chrome",
        "No browser answers on the DevTools port; it is tried every five seconds.",
        "start Chrome: `fluxcap chrome`",
    ),
    "chrome.attach_deferred": LogEvent(
        "The pipeline is too busy to attach to Chrome; retrying",
        "A browser is there, but the pipeline is busy.",
        "nothing; if it repeats, the machine is too slow",
    ),
    "chrome.waiting_for_consent": LogEvent(
        "Waiting for your consent in Chrome",
        "A browser is there, and its user has to let fluxcap in; `reason` says what to click.",
        "click Allow in the browser's dialog; after Cancel: `fluxcap chrome --ask`",
        alert=True,
    ),
    "chrome.started": LogEvent(
        "Chrome was started",
        "With `keep_chrome`, no browser answered; `page` is open in it. `starts` counts those in a row.",
        "nothing; log in if the page asks for it",
    ),
    "chrome.start_failed": LogEvent(
        "Chrome cannot be started",
        "With `keep_chrome`; it is tried again in `next_s` seconds.",
        "do what `reason` says; `fluxcap doctor`",
        alert=True,
    ),
    "chrome.attached": LogEvent("Attached to Chrome", "The browser was connected to, or it answers again.", "nothing"),
    "chrome.lost": LogEvent(
        "Chrome is not reachable",
        "The connection to the browser ended, or there is none.",
        "start Chrome again, unless you closed it",
        alert=True,
    ),
    "chrome.unresponsive": LogEvent(
        "Chrome does not answer", "The browser is frozen or very busy.", "look at Chrome's window"
    ),
    "chrome.command_timeout": LogEvent(
        "A command to Chrome timed out",
        "One command had no answer in time.",
        "nothing; if it repeats, look at Chrome's window",
    ),
    "chrome.message_error": LogEvent(
        "A message from Chrome could not be handled; reconnecting",
        f"{_REPORT} Capture continues after the reconnect.",
        "send us the log",
        alert=True,
    ),
    "target.attached": LogEvent(
        "Attached to a tab", "A tab, worker or frame of the platform is being watched.", "nothing"
    ),
    "target.detached": LogEvent(
        "A tab is gone",
        "It was closed, crashed or left the platform; `reason` says which.",
        "reopen the trading page, unless you closed it",
    ),
    "target.lookalike": LogEvent(
        "A tab looks like the platform, but its address is on no list; it is not attached",
        "No candle is made of it. It may be a mirror that fluxcap does not know, or somebody's imitation.",
        "if it is your trading page, start with the `option` that the event names",
        alert=True,
    ),
    "socket.unseen": LogEvent(
        "A mirror's tab was open before fluxcap; its sockets do not count until it is reloaded",
        "Of a mirror only sockets to the platform's own hosts count, and where an open one goes cannot be seen.",
        "reload the tab",
        alert=True,
    ),
    "platform.logged_out": LogEvent(
        "The platform refused the page's session",
        "The trader is logged out; no ticks come.",
        "log in on the trading page",
        alert=True,
    ),
    "platform.logged_in": LogEvent("Ticks come again after a log-in", "Candles go on.", "nothing"),
    "platform.accounts_differ": LogEvent(
        "A demo and a real account bring the same asset; only one of them counts",
        "Candles are never made of both. `counts` is the kind of account that brought the asset first.",
        "close the tab of the account that you do not want",
    ),
    "socket.closed": LogEvent(
        "A WebSocket of the platform closed",
        "Candles have a gap until the page has reconnected.",
        "nothing; the page reconnects. If it repeats, check the internet connection and the platform",
    ),
    # store, journal and recording
    "store.write_failed": LogEvent(
        "The store cannot be written; retrying every second",
        "Nothing is published meanwhile; candles wait in memory.",
        "free space **now**; charts stand still until then",
        alert=True,
    ),
    "store.write_recovered": LogEvent(
        "The store can be written again", "All waiting candles were stored and published.", "nothing"
    ),
    "store.waiting_for_space": LogEvent(
        "The disk is full: waiting for space to start",
        "The store cannot be made, or be brought to the present version. Nothing is captured; it is retried.",
        "free space **now**; the start goes on by itself",
        alert=True,
    ),
    "store.migrating": LogEvent(
        "The store is being copied, to bring it to the present version",
        "It was written by an older fluxcap. The start goes on when it is done.",
        "nothing",
    ),
    "store.migrated": LogEvent(
        "The store is of the present version now",
        "`copy` is the store as it was before; nothing needs it any more.",
        "nothing; delete the copy when you like",
    ),
    "store.deriving": LogEvent(
        "Making candles of longer intervals of those that the store has",
        "At a start after `timeframes` was changed, or the first with it; `done` of `total` candles were folded.",
        "nothing; the daemon goes on by itself",
    ),
    "store.derived": LogEvent(
        "Candles of longer intervals were made of those that the store had",
        "Charts of these intervals have their past.",
        "nothing",
    ),
    "store.rewritten": LogEvent(
        "The store's file was deleted or moved away; it was written again",
        "Nothing is lost: the new file has all that the old one held. Other files of the data folder may be gone.",
        "find out what deletes files in the data folder; stop fluxcap before you move it",
        alert=True,
    ),
    "store.checkpoint_failed": LogEvent(
        "The store's checkpoint failed; retrying in a minute",
        "Nothing is lost; the store's write-ahead log grows meanwhile.",
        "nothing; if it repeats, check the free disk space",
    ),
    "store.read_failed": LogEvent(
        "The store could not be read",
        "Candles under wrong times, of before the clock was corrected, could not be looked up: they stand as they are.",
        "see `fluxcap verify`; restart fluxcap",
        alert=True,
    ),
    "agreement.candle_differs": LogEvent(
        "Candles differ from the platform's own",
        "Ours stand; the platform's history shows other prices for these minutes. `fluxcap verify` lists them.",
        "look at `fluxcap status`; if many differ, the platform has changed: send us a recording",
        alert=True,
    ),
    "store.candles_rejected": LogEvent(
        "The store rejected candles",
        f"{_REPORT} Candles that cannot follow their stream were dropped.",
        "send us the log, and run `fluxcap verify`",
        alert=True,
    ),
    "journal.write_failed": LogEvent(
        "The tick journal cannot be written",
        "Capture goes on; if the daemon were killed now, the current bucket would be lost.",
        "free space; until then do not kill the daemon",
        alert=True,
    ),
    "journal.set_aside": LogEvent(
        "A file of the tick journal was set aside",
        "Its ticks were stamped by a clock that was ahead; `file` is its new name. Nothing reads it.",
        "nothing; delete it when you like",
    ),
    "journal.write_recovered": LogEvent(
        "The tick journal can be written again", "A kill loses nothing any more.", "nothing"
    ),
    "retention.pruned": LogEvent(
        "Old candles were deleted",
        "Candles older than `retention_days` were deleted from the store; once an hour.",
        "nothing; `retention_days` sets it",
    ),
    "retention.prune_failed": LogEvent(
        "Old candles could not be deleted; retrying in an hour",
        "Nothing is lost.",
        "nothing; if it repeats, check the free disk space",
    ),
    "recording.stopped_by_error": LogEvent(
        "The recording stopped: the disk cannot be written",
        "Capture goes on. The recording can be replayed up to here.",
        "free space, start `fluxcap record` again",
        alert=True,
    ),
    # forwarding to NATS JetStream
    "forward.connected": LogEvent(
        "Forwarding to NATS", "Connected; everything that is not in JetStream yet follows.", "nothing"
    ),
    "forward.stopped": LogEvent(
        "Forwarding has stopped",
        "`fluxcap forward` exited; `behind` candles remain to be sent by the next one.",
        "start it again, unless you stopped it",
    ),
    "forward.server_unavailable": LogEvent(
        "NATS is unavailable; retrying",
        "No NATS server answers. Capture goes on; the candles follow from the store.",
        "start the NATS server, check the network",
    ),
    "forward.server_rejected": LogEvent(
        "NATS rejected the connection; retrying",
        "Credentials, TLS, or the JetStream stream is missing (`fluxcap forward --setup` makes it).",
        "do what `reason` says",
        alert=True,
    ),
    "forward.stream_blocked": LogEvent(
        "Forwarding of a stream is blocked",
        "Sending more of it would contradict what is in JetStream; `reason` says why.",
        "do what `reason` says; the store has everything",
        alert=True,
    ),
    "forward.store_changed": LogEvent(
        "A stream is now forwarded from another store",
        "Readers start the stream over.",
        "nothing, if the store was meant to be new",
    ),
    "forward.candles_pruned": LogEvent(
        "Candles were deleted before they were forwarded",
        "NATS was unavailable for longer than `retention_days`; JetStream has a gap.",
        "raise `retention_days`; only backups have the missing candles",
        alert=True,
    ),
    "forward.checkpoint_failed": LogEvent(
        "The forwarding cursor cannot be written",
        "The position is read from JetStream instead; nothing is lost or sent twice.",
        "free space in the data folder",
    ),
    "forward.error": LogEvent(
        "The forwarder failed; retrying", f"{_REPORT} Capture goes on.", "send us the log", alert=True
    ),
    # web clients
    "web.lease_release_failed": LogEvent(
        "The asset of a web client could not be released",
        "It stays in the focus.",
        "`fluxcap focus get`, then set the focus again",
    ),
    "web.push_failed": LogEvent(
        "A push over Socket.IO failed",
        f"{_REPORT} Other clients and the capture are not affected.",
        "send us the log; the client should reconnect",
    ),
    "collect.started": LogEvent(
        "A collection of history was begun from the page",
        "The trading page is turned to each asset and timeframe, and then turned back.",
        "nothing, if you did it",
    ),
    "collect.ended": LogEvent(
        "A collection of history has ended",
        "`said` is what was saved or went wrong, `failed` the number of histories that are missing.",
        "see `said`; collecting again fetches what is missing",
    ),
    # CSV files
    "csv.mode_changed": LogEvent(
        "The collect mode changed",
        "The running daemon was switched to other kinds of CSV files.",
        "nothing, if you did it",
    ),
    "csv.write_failed": LogEvent(
        "CSV files cannot be written; retrying every second",
        "Rows wait in memory, up to 100,000 of a kind.",
        "free space, check the folder's permissions",
        alert=True,
    ),
    "csv.write_recovered": LogEvent(
        "CSV files can be written again",
        "All waiting rows were written; `lines_lost` counts those that had been dropped.",
        "nothing; look at `lines_lost`",
    ),
    "csv.file_lost": LogEvent(
        "A CSV file is gone; continuing in a new one",
        "A file that was being written was removed, or cannot be opened.",
        "do not move or open for writing a file that is being written",
    ),
    "csv.rows_dropped": LogEvent(
        "CSV rows were dropped",
        "The disk could not be written, or was too slow.",
        "`fluxcap export` has the candles; the ticks are lost",
        alert=True,
    ),
    "csv.writer_slow": LogEvent(
        "The CSV writer is slow",
        "A change of the collect mode waits for the disk.",
        "nothing; if it repeats, the disk is too slow",
    ),
    "csv.writer_error": LogEvent(
        "The CSV writer failed",
        f"{_REPORT} No CSV files are written any more; capture goes on.",
        "send us the log; restart to have CSV files again",
        alert=True,
    ),
    # alerts
    "alert.told": LogEvent(
        "An alert was told", "`kind` says which; the addresses of `alerts` have the text.", "what the alert says"
    ),
    "alert.ended": LogEvent("The end of an alert was told", "What it was about is over.", "nothing"),
    "alert.send_failed": LogEvent(
        "An alert cannot be sent; retrying",
        "`address` and `number` say to which; nothing that waits for others is delayed.",
        "`fluxcap alerts test`; check the address, the network and the service",
    ),
    "alert.send_recovered": LogEvent(
        "Alerts can be sent again", "Those that waited for this address follow.", "nothing"
    ),
    "alert.dropped": LogEvent(
        "An alert was given up",
        "It could not be sent for half a day, or too many waited for this address.",
        "`fluxcap alerts test`; `fluxcap status` says what goes on",
    ),
}
