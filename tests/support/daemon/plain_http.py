"""One HTTP request to this machine. Quick, unlike a general client, which first loads certificates it will not use."""

from __future__ import annotations

import http.client
from contextlib import closing

from tests.support.patience import PATIENCE_S


def request(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body. Raises OSError where nobody listens."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read()
