"""Candles of JetStream as Parquet files that other programs read: one file per source, symbol, day and interval.

``rows`` turns messages of JetStream into rows, ``partition`` says where they belong, ``partition_file`` puts them
there, ``checkpoint`` remembers how far that came, ``archiver`` does it all, for as long as it is let.
"""
