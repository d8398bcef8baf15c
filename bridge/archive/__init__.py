"""Candles of the log as Parquet files that other programs read: one file per source, symbol, day and interval.

``gathering`` turns messages of the log into rows, ``partition`` says where they belong, ``partition_file`` puts them
there, ``cursor`` remembers how far that came, ``archiver`` does it all, for as long as it is let.
"""
