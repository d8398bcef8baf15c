"""The web server for browsers and Socket.IO clients. Imported only when the web is on.

``relay`` carries events from the pipeline's thread, ``socketio`` pushes them to clients as ``payloads`` words them,
``routes`` serves REST and collected files, ``metrics`` Prometheus.
"""
