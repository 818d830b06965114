"""Counts of requests for those who watch over a server, in Prometheus' text format."""

import itertools
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mura_app.server.limits import PredictionQueue


class Metrics:
    """Counts requests by route and status, in Prometheus' text format; nothing else of a request.

    Args:
        app: What is behind it.
        queue: Whose length is shown.
    """

    def __init__(self, app: ASGIApp, queue: PredictionQueue) -> None:
        self._app, self._queue = app, queue
        self._requests: dict[tuple[str, int], list[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route: Any = scope.get("route")
            found = self._requests.setdefault((getattr(route, "path", "other"), status), [0, 0.0])
            found[0], found[1] = found[0] + 1, found[1] + time.perf_counter() - start

    def text(self) -> str:
        """Return what there is to scrape."""
        lines = [
            [
                f'mura_requests_total{{route="{route}",status="{status}"}} {count:.0f}',
                f'mura_request_seconds_total{{route="{route}",status="{status}"}} {seconds:.6f}',
            ]
            for (route, status), (count, seconds) in sorted(self._requests.items())
        ]
        counts, times = zip(*lines, strict=True) if lines else ((), ())
        return "\n".join(
            [
                *itertools.chain(("# TYPE mura_requests_total counter",), counts),
                *itertools.chain(("# TYPE mura_request_seconds_total counter",), times),
                "# TYPE mura_queue_requests gauge",
                f"mura_queue_requests {self._queue.n_requests}\n",
            ]
        )
