"""Topdown collection: candles of the past, asset by asset and timeframe by timeframe, driven through the page.

Separate from the live path: a browser connection of its own, files of its own, and streams of its own in the store.
``plan`` what to fetch → ``page_feed`` what the page receives → ``candles`` of it → ``files`` and ``store``;
``collection`` joins them.
"""
