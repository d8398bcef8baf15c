"""A store whose commits are written, or not, and fail all the same, and whose file cannot be opened for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from fluxcap.bridge.store.connection import StoreConnection, StoreCursor
from fluxcap.schemas.errors import StoreError


@contextlib.contextmanager
def lost_store(monkeypatch: pytest.MonkeyPatch, *, durable: bool = True) -> Iterator[None]:
    """While this is held every commit fails like that; afterwards the file can be opened again."""
    transaction, rows = StoreCursor.transaction, StoreCursor.rows

    @contextlib.contextmanager
    def failing(cursor: StoreCursor) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(transaction(cursor))
            yield
            if not durable:
                raise StoreError("the log cannot be written")
        raise StoreError("the instance was given up")

    def unserved(cursor: StoreCursor, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        if "FROM meta" in sql:
            raise StoreError("the instance was given up")
        return rows(cursor, sql, parameters)

    def closed(connection: StoreConnection) -> None:
        raise StoreError("the file cannot be opened just now")

    with monkeypatch.context() as patch:
        patch.setattr(StoreCursor, "transaction", failing)
        patch.setattr(StoreCursor, "rows", unserved)
        patch.setattr(StoreConnection, "reopen", closed)
        yield
