"""A wire server for developing clients: generated or replayed candles, and faults at will.

It publishes through the daemon's own publisher, responder and codec; ``process.run_devserver`` runs it,
``api`` describes how to steer it while it runs.
"""
