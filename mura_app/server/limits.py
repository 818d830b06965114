"""What a server takes at most, refused before it is decoded; the thread that predicts, and its queue."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mura_env.errors import UserError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Limits:
    """The most that a server takes."""

    megabytes: int = 64
    """Size of a request."""
    radiographs: int = 16
    """Of a study."""
    megapixels: int = 100
    """Of a study's radiographs together."""
    queue: int = 16
    """Requests at a time: the one that is predicted, and those that wait or are still being sent."""
    seconds: int = 60
    """To send a request, and to wait for a study's prediction."""


class RefusedError(UserError):
    """A request that is refused with a status of its own."""

    def __init__(self, status: int, text: str, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status, self.retry_after = status, retry_after

    def response(self) -> JSONResponse:
        """Return the answer that says so."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse({"error": str(self)}, self.status, headers)


class PredictionQueue:
    """One thread predicts; a bounded number of requests waits for it.

    Args:
        limits: How many, and how long.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, "prediction")
        self._seconds = 1.0
        self.n_requests = 0
        """Requests that have a place."""

    def enter(self) -> None:
        """Take a place.

        Raises:
            RefusedError: If there is none.
        """
        if self.n_requests >= self._limits.queue:
            raise RefusedError(
                503,
                f"expected at most {self._limits.queue} requests at a time, got one more; try again later",
                max(1, math.ceil(self.n_requests * self._seconds)),
            )
        self.n_requests += 1

    def leave(self) -> None:
        """Give the place back."""
        self.n_requests -= 1

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do work in the thread, after what came before.

        Raises:
            RefusedError: If that takes too long; work that has not begun is dropped.
        """

        def timed() -> Result:
            start = time.perf_counter()
            try:
                return work()
            finally:
                self._seconds = 0.8 * self._seconds + 0.2 * (time.perf_counter() - start)

        future = self._thread.submit(timed)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._limits.seconds)
        except TimeoutError:
            raise RefusedError(
                503,
                f"expected an answer within {self._limits.seconds} seconds, got none; try again later",
                self._limits.seconds,
            ) from None

    def close(self) -> None:
        """End the thread after what it is doing."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class Gate:
    """Lets a request that carries data in if there is a place for it, and no more of it than the limits say.

    Args:
        app: What is behind it.
        queue: The places.
        limits: The limits.
    """

    def __init__(self, app: ASGIApp, queue: PredictionQueue, limits: Limits) -> None:
        self._app, self._queue, self._limits = app, queue, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        try:
            size = Headers(scope=scope).get("content-length", "0")
            self._check_size(int(size) if size.isdecimal() else 0)  # what comes is counted as well
            self._queue.enter()
        except RefusedError as refusal:
            await refusal.response()(scope, receive, send)
            return
        try:
            await self._app(scope, self._counted(receive), send)
        finally:
            self._queue.leave()

    def _check_size(self, size: int) -> None:
        if size > self._limits.megabytes * 10**6:
            raise RefusedError(
                413,
                f"expected at most {self._limits.megabytes} megabytes in a request, got more; send fewer or "
                "smaller files",
            )

    def _counted(self, receive: Receive) -> Receive:
        until = time.monotonic() + self._limits.seconds
        size, is_whole = 0, False

        async def counted() -> Message:
            nonlocal size, is_whole
            if is_whole:  # what comes now is that the client has gone
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), until - time.monotonic())
            except TimeoutError:
                raise RefusedError(
                    408,
                    f"expected a request within {self._limits.seconds} seconds, got a part; send it anew",
                ) from None
            size += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            self._check_size(size)
            return message

        return counted
