"""Values to bytes of the wire and back: ``encode`` and ``decode``.

The format is FlatBuffers (``schemas/market_data.fbs``), written and read here without the generated code, at the speed
of NumPy and with every offset checked. Read in this order:

``tables``    every table of the schema, its slots and layouts
``writing``   strings, tables, vectors as relocatable parts
``reading``   the same out of a buffer from anybody
``candles``   candle vectors, vectorised
``messages``  each message to its table and back
``envelope``  versions, correlation ids, sizes: ``encode`` and ``decode``
"""

from fluxcap.schemas.codec.envelope import MAX_MESSAGE_BYTES, decode, encode
from fluxcap.schemas.codec.messages import MAX_STREAMS

__all__ = ["MAX_MESSAGE_BYTES", "MAX_STREAMS", "decode", "encode"]
