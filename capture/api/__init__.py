"""The web server for browsers and Socket.IO clients. Imported only when the web is on.

``relay`` carries news from the pipeline's thread, ``streaming`` talks Socket.IO, ``payloads`` words it,
``csv_files`` and ``csv_routes`` serve collected files.
"""
