"""What proxies in front of a service say: believed from named addresses only.

1. The address of the browser and its scheme (X-Forwarded-For, X-Forwarded-Proto).
2. The name for which a login proxy vouches, in the header that was agreed on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from chunkflow.errors import BadInput
from chunkflow.words import shortened

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class BehindProxies:
    """An application that believes proxies at some addresses; `scope["state"]["vouched"]` has the name.

    `forwarders` are believed as to addresses and schemes alone: whoever else is on their machine vouches for
    nobody.
    """

    def __init__(
        self, app: ASGIApp, proxies: Sequence[str], user_header: str = "", forwarders: Sequence[str] = ()
    ) -> None:
        self._networks = tuple(network(text) for text in proxies)
        trusted = [*map(str, self._networks), *forwarders]
        # the types that uvicorn has for applications are its own
        self._app: ASGIApp = ProxyHeadersMiddleware(app, trusted) if trusted else app  # type: ignore[arg-type,assignment]
        self._header = user_header.lower().encode("latin-1")
        self._trusted = lru_cache(1024)(self._is_trusted)

    def _is_trusted(self, address: str) -> bool:
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(known in one for one in self._networks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._header and scope["type"] == "http" and scope["client"] and self._trusted(scope["client"][0]):
            said = [value.decode("latin-1") for name, value in scope["headers"] if name == self._header]
            if len(said) == 1:  # where there are two, one came through from the browser
                scope.setdefault("state", {})["vouched"] = said[0]
        await self._app(scope, receive, send)


def network(text: str) -> Network:
    """Addresses, as 10.0.0.5 or 10.0.0.0/24."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise BadInput(
            f"{shortened(text, 60)} is no address of a proxy: give it as 10.0.0.5 or 10.0.0.0/24."
        ) from None
