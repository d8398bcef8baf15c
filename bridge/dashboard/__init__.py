"""The page that a trader keeps open: files in ``static/``, and what serves them.

``app.mount_dashboard`` adds it to a FastAPI application (the daemon's), ``app.dashboard_app`` serves it alone. In the
browser it is a reader like any other: candles and the live feed of ``fluxcap.bridge.web``; status, assets, gaps, files,
leases and the collect mode over the REST API of a daemon. Nothing is fetched from outside. The dev server's panel
(``panel.html``) is made of the same parts. Pure: ``csv_candles``.
"""
