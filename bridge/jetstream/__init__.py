"""The same batches on NATS JetStream, a replicated log that other programs run: for more than one machine.

``subjects.py`` names things, ``connection.py`` reaches the log; the forwarder puts a store's batches and revisions on
it, readers take them off. Needs the extra: ``pip install 'fluxcap[nats]'``. Importing this package does not; nats-py is
imported when a connection is made.
"""
