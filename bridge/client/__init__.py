"""The client of fluxcap's wire: every candle of a stream, in order, once each, whatever the network does.

It imports nothing of the capturing side, and needs numpy, msgspec, pyzmq and flatbuffers; duckdb for a copy on disk.

Listen and keep a copy
----------------------
>>> from fluxcap import Candles, HealthChanged, LiveClient, StreamKey
>>> key = StreamKey("SIM", "EURUSD", "1s")
>>> with LiveClient(data_dir="my-data", streams=[key]) as client:      # FLUX_LIVE_PUB, FLUX_CHUNK_REP or 5556, 5557
...     for event in client.events(timeout=5):
...         match event:
...             case Candles(_, start_sequence, candles, is_backfill):
...                 print(start_sequence, candles["close"])
...             case HealthChanged(_, health):
...                 print(health.label, health.reason)

The same with a callback: ``LiveClient(..., on_event=print).start()``; with asyncio: ``async for event in
client.stream()``. Events are values: Candles, Revision, Forming, HealthChanged, CaughtUp, Gap, StoreReplaced, and, if
asked for, Ticks.

What is promised
----------------
- Candles come in the order of their sequences, without a hole and without a repetition. What the network lost is
  fetched while the feed goes on; a Gap event says what the server cannot give any more.
- With a ``data_dir``, candles and the cursor behind them are stored in one transaction before you see the event: kill
  the process at any instant, start it again, and it goes on exactly there.
- A lost last candle is noticed by the next heartbeat, silence within two seconds.
- A server whose store was recreated is recognised: StoreReplaced, and the stream starts over.
- A full disk is waited out: health says so, nothing is reported that is not stored, and the rest follows with the room.
- A server that knows version 1 of the wire alone will do: its cursor is asked each second where others send heartbeats.

Beyond one machine
------------------
``LiveClient(via="nats://HOST:4222", …)`` reads the same streams from NATS JetStream, where ``fluxcap forward`` puts
them: the same events, cache and promises. So do ``backfill``, ``fetch_status`` and ``list_streams``. Credentials come
from a file: ``via=Via("tls://HOST:4222", Path("me.creds"))``. Needs ``pip install "fluxcap[nats]"``.

Fetch and be done
-----------------
>>> from fluxcap import backfill, export_candles, fetch_status, list_streams
>>> print(fetch_status(key).latest_sequence)
>>> export_candles(backfill(key), "eurusd.parquet")

Errors are those of ``fluxcap.schemas.errors``: StoreLocked, StoreError, ConfigError, WireError, WireTimeout.
"""
