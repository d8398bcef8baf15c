"""Every exception fluxcap raises on purpose, drawn as a tree.

::

    FluxcapError
    ├── ConfigError            a setting, option or file of the user's is wrong         (exit code 2)
    ├── ChromeUnavailable      no browser answers on the DevTools port                  (exit code 1)
    ├── BrowserGone            the connection to the browser ended
    ├── CommandFailed          the browser refused a command or did not answer in time
    ├── PageUnavailable        the trading page is not open, or lacks what was looked for
    ├── UnknownAsset           no asset of that name; carries the nearest names         (exit code 2)
    ├── StoreError             the candle store cannot do what was asked
    │   ├── StoreLocked        another process holds the store; says which
    │   ├── StoreDamaged       the file is not a sound store; it is never replaced silently
    │   ├── StoreRestored      the store is older than it was; it wants a new identity first
    │   └── StoreFull          no space: nothing was stored, so nothing may be published
    ├── NotKnown               what was known at that time was not kept                (wire 410)
    ├── SequenceError          a batch would repeat, skip or go back
    ├── CodecError             bytes that are not a sound envelope                      (wire 400)
    │   ├── UnsupportedVersion an envelope of a version we cannot read                  (wire 426)
    │   └── MessageTooLarge    beyond the size limits of the wire                       (wire 413)
    ├── WireError              the other side of the wire answered with an ErrorResponse
    ├── WireTimeout            the other side of the wire did not answer in time
    ├── NatsError              JetStream cannot do what was asked
    │   ├── NatsUnavailable    no NATS server answers                                  (exit code 1)
    │   └── NatsRejected       the NATS server does not let us in, or not do that      (exit code 1)
    ├── AlreadyRunning         a port or data folder is held by another fluxcap         (exit code 1)
    └── NotAnswering           no fluxcap answers: none runs, it is stopping or too busy (exit code 1)

A message says what happened and what to do next. Nothing but these (and KeyboardInterrupt) leaves a public function.
"""

from __future__ import annotations


class FluxcapError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(FluxcapError):
    """A setting, option or file of the user's is wrong."""


class ChromeUnavailable(FluxcapError):
    """No browser answers on the DevTools port."""


class BrowserGone(FluxcapError):
    """The connection to the browser ended."""


class CommandFailed(FluxcapError):
    """The browser refused a command or did not answer in time."""


class ConsentRequired(ChromeUnavailable):
    """A browser answers that lets programs in only by its user's consent."""


class ConsentRefused(ChromeUnavailable):
    """The browser's user, or its administrator, does not let fluxcap in."""


class PageUnavailable(FluxcapError):
    """The trading page is not open, or lacks what was looked for on it."""


class UnknownAsset(FluxcapError):
    """No asset of that name.

    Parameters
    ----------
    name
        As it was typed.
    nearest
        The closest known symbols, best first.
    """

    def __init__(self, name: str, nearest: tuple[str, ...] = ()) -> None:
        hint = f" Did you mean {', '.join(nearest)}?" if nearest else ""
        super().__init__(f"Unknown asset {name!r}.{hint}")
        self.name = name
        self.nearest = nearest


class StoreError(FluxcapError):
    """The candle store cannot do what was asked."""


class StoreLocked(StoreError):
    """Another process holds the store."""


class StoreDamaged(StoreError):
    """The file is not a sound store."""


class StoreRestored(StoreError):
    """The store is older than it was, as a backup is: it would give the same numbers to other candles."""


class StoreFull(StoreError):
    """No space on the disk: nothing was stored, so nothing may be published."""


class NotKnown(FluxcapError):
    """The store has not kept what was known at that time."""


class SequenceError(FluxcapError):
    """A batch would repeat, skip or go back."""


class CodecError(FluxcapError):
    """Bytes that are not a sound envelope (wire error 400).

    Parameters
    ----------
    message
        What is not sound about them.
    correlation_id
        Of the request, if it could be read, so that the error can be answered to it; else ``""``.
    """

    wire_code = 400

    def __init__(self, message: str, *, correlation_id: str = "") -> None:
        super().__init__(message)
        self.correlation_id = correlation_id


class UnsupportedVersion(CodecError):
    """An envelope of a version we cannot read (wire error 426)."""

    wire_code = 426


class MessageTooLarge(CodecError):
    """Beyond the size limits of the wire (wire error 413)."""

    wire_code = 413


class WireError(FluxcapError):
    """The other side answered with an ErrorResponse.

    Parameters
    ----------
    code
        Of the response, as in HTTP.
    message
        Of the response.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (wire error {code})")
        self.code = code


class WireTimeout(FluxcapError):
    """The other side of the wire did not answer in time."""


class NatsError(FluxcapError):
    """JetStream cannot do what was asked."""


class NatsUnavailable(NatsError):
    """No NATS server answers."""


class NatsRejected(NatsError):
    """The NATS server does not let us in, or does not let us do that."""


class AlreadyRunning(FluxcapError):
    """A port or data folder is held by another fluxcap."""


class NotAnswering(FluxcapError):
    """No fluxcap answers: none runs, it is stopping, or it is too busy."""
