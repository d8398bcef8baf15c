"""Candles for programs that speak HTTP: JSON and CSV, a live feed by server-sent events, and TradingView's UDF.

``readers.Readers`` is all of it over one server of the wire (or NATS), whatever serves the pages: the daemon, the
dashboard alone, the dev server. It is a client of the wire like any other. Pure: ``positions``, ``event_writer``.
"""
