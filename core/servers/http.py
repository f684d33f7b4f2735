"""One try of one request: the connections to a server, limits of time and size, and
what failures are called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from logdrift.core.errors import InputError
from logdrift.core.servers.keys import ServerKey
from logdrift.core.servers.retries import Transient, seconds_of
from logdrift.core.servers.words import message_in, short
from logdrift.core.version import __version__

_CONNECT_SECONDS = 10.0
_LARGEST_ANSWER = 1 << 30
"""Bytes. Twenty alternatives of 100,000 tokens are a tenth of it."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_BUSY = (429, 503)


@dataclass(frozen=True, slots=True)
class ServerRequest:
    """A method, a whole address, and what is sent."""

    method: str
    address: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ServerResponse:
    """A whole response. ``location`` is where a redirect leads, else empty."""

    status: int
    content: bytes
    location: str = ""

    def words(self) -> str:
        """``it answered 500: WORDS``, in one line."""
        status = f"it answered {self.status}"
        words = message_in(self.content)
        if not words:
            return status
        return f"{status}: {words}"


class Connections:
    """The connections to one server, which are kept. ``seconds`` is the limit of one
    request, ``most`` the number of connections. Raises InputError for an address that
    cannot be asked.
    """

    def __init__(
        self, address: str, key: ServerKey | None, seconds: float, most: int
    ) -> None:
        self._seconds = seconds
        headers = {"User-Agent": f"logdrift/{__version__}"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key.value}"
        self._http = httpx2.AsyncClient(
            headers=headers,
            # A whole request has one limit, `_seconds`.
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=most),
            # A redirect would carry the key, and the ids, to somebody else.
            follow_redirects=False,
            # Proxies are for other machines.
            trust_env=_host_of(address) not in _LOOPBACK,
        )

    async def close(self) -> None:
        """Close them all."""
        await self._http.aclose()

    async def once(self, request: ServerRequest) -> ServerResponse:
        """One try. Raises Transient where another one may help."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._received(request)
        except TimeoutError:
            reason = f"gave no whole answer within {self._seconds:g} seconds"
            raise Transient(reason, kind="timeout") from None
        except httpx2.RequestError as error:
            raise Transient(_words_of(error)) from None
        return response

    async def _received(self, request: ServerRequest) -> ServerResponse:
        asked = self._http.build_request(
            request.method, request.address, json=request.body, params=request.query
        )
        response = await self._http.send(asked, stream=True)
        try:
            content = await _content_of(response)
        finally:
            await response.aclose()
        headers = response.headers
        whole = ServerResponse(
            status=response.status_code,
            content=content,
            location=headers.get("Location", ""),
        )
        if whole.status in _BUSY:
            after = seconds_of(headers.get("Retry-After"))
            raise Transient(whole.words(), kind="busy", after=after)
        if whole.status >= 500:
            raise Transient(whole.words(), kind="fault")
        return whole


def _host_of(address: str) -> str:
    try:
        return httpx2.URL(address).host
    except httpx2.InvalidURL as error:
        raise InputError(f"server={address!r} is no address: {error}") from None


async def _content_of(response: httpx2.Response) -> bytes:
    """What a response holds, up to the limit. Raises Transient beyond it."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _LARGEST_ANSWER:
            raise Transient("its answer is larger than 1 GiB", kind="fault")
    return bytes(content)


def _words_of(error: httpx2.RequestError) -> str:
    if isinstance(error, httpx2.ConnectTimeout):
        return f"nothing answers within {_CONNECT_SECONDS:g} seconds"
    words = short(str(error)) or type(error).__name__
    if isinstance(error, httpx2.ConnectError):
        return f"nothing answers ({words})"
    return f"the connection was lost ({words})"
