"""Metrics of a serving process, as Prometheus reads them."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chunkflow.people.service.files.answer import send_empty
from chunkflow.people.viewing.remote import SHARED, RemoteCache

STREAM = "stream"
MOST_STREAMS = 2000
"""Streams of events that a process holds open: more would leave it no connections for anything else."""
NAMES = {
    "chunkflow_service_requests_total": ("counter", "Requests that were answered, by kind and status."),
    "chunkflow_service_request_seconds_total": ("counter", "Seconds that answers took, by kind."),
    "chunkflow_service_open_requests": ("gauge", "Requests under way, streams of events included, by kind."),
    "chunkflow_service_start_time_seconds": ("gauge", "When this process began, since 1970."),
    "chunkflow_service_cache_hits_total": ("counter", "Remote objects or parts that memory held."),
    "chunkflow_service_cache_misses_total": ("counter", "Remote objects or parts that were fetched."),
    "chunkflow_service_cache_checks_total": ("counter", "Remote objects asked after without their content."),
    "chunkflow_service_cache_bytes": ("gauge", "Bytes of remote layers that memory holds."),
    "chunkflow_service_cache_limit_bytes": ("gauge", "Bytes of remote layers that memory may hold."),
}


class ServiceMetrics:
    """Counts of what a process has answered, by kind of address."""

    def __init__(self, cache: RemoteCache = SHARED) -> None:
        self.cache = cache
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.open: Counter[str] = Counter()
        self._began = time.time()

    def text(self) -> str:
        """All numbers as Prometheus reads them."""
        values: dict[str, list[str]] = {
            "chunkflow_service_requests_total": [
                f'{{kind="{kind}",status="{status}"}} {count}'
                for (kind, status), count in self.requests.items()
            ],
            "chunkflow_service_request_seconds_total": [
                f'{{kind="{kind}"}} {seconds:.6f}' for kind, seconds in self.seconds.items()
            ],
            "chunkflow_service_open_requests": [
                f'{{kind="{kind}"}} {count}' for kind, count in self.open.items()
            ],
            "chunkflow_service_start_time_seconds": [f" {self._began:.3f}"],
            "chunkflow_service_cache_hits_total": [f" {self.cache.contents.hits}"],
            "chunkflow_service_cache_misses_total": [f" {self.cache.contents.misses}"],
            "chunkflow_service_cache_checks_total": [f" {self.cache.heads.misses}"],
            "chunkflow_service_cache_bytes": [f" {self.cache.bytes}"],
            "chunkflow_service_cache_limit_bytes": [f" {self.cache.limit}"],
        }
        lines = []
        for name, (kind, text) in NAMES.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{value}" for value in values[name]]
        return "\n".join(lines) + "\n"


class CountedEndpoint:
    """An endpoint whose answers are counted."""

    def __init__(self, endpoint: ASGIApp, kind: str, metrics: ServiceMetrics) -> None:
        self._endpoint = endpoint
        self._kind = kind
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics, kind = self._metrics, self._kind
        if kind == STREAM and metrics.open[kind] >= MOST_STREAMS:
            metrics.requests[kind, HTTPStatus.SERVICE_UNAVAILABLE] += 1
            await send_empty(send, HTTPStatus.SERVICE_UNAVAILABLE, {"retry-after": "10"})
            return
        status, began = 500, time.perf_counter()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        metrics.open[kind] += 1
        try:
            await self._endpoint(scope, receive, counted)
        finally:
            metrics.open[kind] -= 1
            metrics.requests[kind, status] += 1
            metrics.seconds[kind] += time.perf_counter() - began
