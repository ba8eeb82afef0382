"""uvicorn's HTTP protocol with the time limits that it lacks, so that slow clients use up no connections."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""A request's line and headers have to be there this long after the connection or the first byte."""
READ_SECONDS = 60.0
"""A client has to read on within this time."""
END_SECONDS = 2.0
"""What is under way when the server ends has to be sent and read within this time; less than uvicorn waits."""


class BoundedProtocol(H11Protocol):
    """One connection. What comes too slowly ends without an answer."""

    _head: asyncio.TimerHandle | None = None
    _read: asyncio.TimerHandle | None = None
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take up data: part of a request's head, or of its body."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel_head()
        else:
            # Part of a head, or of a body that nobody asked for: uvicorn's own timer is off.
            self._await_head()

    def on_response_complete(self) -> None:
        """Wait for the next request, which uvicorn's own timer does."""
        self._cancel_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Wait until the client reads on."""
        super().pause_writing()
        self._read = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing: the client has read."""
        super().resume_writing()
        if self._read is not None:
            self._read.cancel()

    def shutdown(self) -> None:
        """Let what is under way finish. A client that is too slow is let go: else uvicorn breaks off and logs errors."""
        super().shutdown()
        self._end = self.loop.call_later(END_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel_head()
        for timer in (self._read, self._end):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _cancel_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
