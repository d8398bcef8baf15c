"""The same batches on NATS JetStream, a replicated store of messages: for more than one machine.

``subjects.py`` names things, ``connection.py`` connects; the forwarder puts a store's batches and revisions on
it, readers take them off. Needs the extra: ``pip install "fluxcap[nats]"``. Importing this package does not; nats-py is
imported when a connection is made.
"""
