"""Every event that fluxcap logs, and what it means. The names are stable: alerts may rely on them.

With ``--log-json`` an event is ``{"ts", "level", "event", …fields}``. What libraries log comes as the event ``library
message`` with ``logger`` and ``message``.
"""

from __future__ import annotations

EVENTS: dict[str, str] = {
    # life of the daemon
    "fluxcap runs": "Everything listens; tells the endpoints and the data folder.",
    "fluxcap stopped": "Flushed, closed and left.",
    "run file cannot be written; trying again every second": "Commands do not find this daemon yet. Free some space.",
    "run file written": "Commands find this daemon now.",
    "pipeline failed": "A fault of ours ended the capture; the daemon leaves with exit code 1. Please report it.",
    "thread failed": "A fault of ours in another thread; the daemon leaves with exit code 1. Please report it.",
    "listener failed": "A fault of ours in what listens to the pipeline (files, Socket.IO, metrics); capture goes on.",
    "library message": "A warning of a library, or of the store and the wire server.",
    # Chrome
    "waiting for chrome": "No browser answers on the DevTools port; looked for every five seconds.",
    "will attach later": "A browser is there, but the pipeline is too busy to take it; tried again.",
    "chrome attached": "Connected to a browser, or it answers again.",
    "chrome not reachable": "The connection to the browser ended, or there is none.",
    "chrome attached, not answering": "The browser does not answer commands: frozen or very busy.",
    "chrome does not answer": "A command had no answer in time.",
    "a message of chrome's could not be handled; attaching anew": "A fault of ours. Please report it.",
    "tab attached": "A tab, worker or frame of the platform is watched.",
    "tab gone": "It was closed, crashed or left the platform.",
    "socket ended": "A WebSocket of the platform ended; candles from here may be blind.",
    # store and journal
    "store takes nothing; trying again every second": "Nothing is published meanwhile; candles wait. Free some space.",
    "store works again": "What waited has been stored and published.",
    "store not tidied; trying again in a minute": "The checkpoint was not made; nothing is lost.",
    "candles refused": "A fault of ours: candles that cannot follow their stream were dropped. Please report it.",
    "journal cannot be written": "A kill now would cost the bucket under way; capture goes on.",
    "journal works again": "The tick journal is written again.",
    "old candles forgotten": "What is older than `retention_days` has left the store; each hour.",
    "old candles not forgotten; trying again in an hour": "The store could not delete them; nothing is lost.",
    "recording ended": "The disk takes no more of the recording; capture goes on. What it holds can be replayed.",
    # forwarding to NATS JetStream
    "forwarding": "Connected to the log; everything that is not on it yet follows.",
    "forwarding ended": "`fluxcap forward` left; `behind` is what the next one has to do.",
    "log away; trying again": "No NATS server answers; capture goes on, and what waits follows from the store.",
    "log refuses; trying again": "Credentials, TLS, or there is no stream (`fluxcap forward --setup` makes it).",
    "forwarding blocked": "Sending more of this stream would break what is on the log; `reason` says why.",
    "new store forwarded": "A stream goes on with the candles of another store; readers start it over.",
    "candles forgotten before they were forwarded": "The log was away for longer than `retention_days`: it has a hole.",
    "forward cursor cannot be written": "The log itself is asked what it has; nothing is lost or sent twice.",
    "forwarder failed; trying again": "A fault of ours; capture goes on. Please report it.",
    # web clients
    "a client's asset could not be released": "The focus stays as it was.",
    "socket.io push failed": "A fault of ours; other clients and the capture are not concerned. Please report it.",
    # CSV files
    "collect mode changed": "What goes to CSV files was switched on the running daemon.",
    "csv files cannot be written": "Lines wait in memory, up to 100,000 of a kind; tried again every second.",
    "csv files work again": "What waited was written; `lines_lost` says what had been given up.",
    "csv file lost": "A file that was being written was removed, or cannot be opened; a new one was begun.",
    "csv lines lost": "Lines were given up: the disk did not take them, or not in time.",
    "csv writer is slow": "A change of the collect mode waits for the disk.",
    "csv writer failed": "A fault of ours. Please report it.",
}
