"""Requests to one running server: only to paths that change nothing, tried again where
that helps, and never with the key anywhere but in their header.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NoReturn

import httpx2

from logdrift.core.credentials import masked_text
from logdrift.core.errors import LogdriftError
from logdrift.core.plan.server import ServerOptions, base_address
from logdrift.core.servers.keys import ServerKey
from logdrift.core.servers.retries import Patience, Retries, Transient, seconds_of
from logdrift.core.servers.throttle import Throttle
from logdrift.core.session.visible import visible
from logdrift.core.version import __version__
from logdrift.core.worker.base import MismatchError

_CONNECT_SECONDS = 10.0
_LARGEST_ANSWER = 1 << 30
"""Bytes. Twenty alternatives of 100,000 tokens are a tenth of it."""
_LONGEST_WORDS = 300
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_BUSY = (429, 503)


class ServerClient:
    """One server. ``paths`` are those that may be asked for, each with its method;
    ``variable`` is where its key is looked for by itself.
    """

    def __init__(
        self,
        address: str,
        options: ServerOptions,
        key: ServerKey | None,
        paths: Mapping[str, str],
        variable: str,
    ) -> None:
        self._variable = variable
        self.address = base_address(address)
        self._where = f"server {self.address}"
        self._key = key
        self._paths = paths
        self._seconds = options.timeout
        self._throttle = Throttle(options.concurrency)
        self._patience = Patience(options.patience)
        self._http = self._opened(options)

    def _opened(self, options: ServerOptions) -> httpx2.AsyncClient:
        headers = {"User-Agent": f"logdrift/{__version__}"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.value}"
        host = httpx2.URL(self.address).host
        return httpx2.AsyncClient(
            headers=headers,
            # A whole request has one limit, `_seconds`.
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=options.concurrency),
            # A redirect would carry the key, and the ids, to somebody else.
            follow_redirects=False,
            # Proxies are for other machines.
            trust_env=host not in _LOOPBACK,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def look(self, path: str, **query: str) -> Any:
        """What the server says of itself at ``path``; None: it has no such path, or
        keeps it to itself. Raises LogdriftError.
        """
        response = await self._tried("GET", path, "", query=query)
        if response.status_code in (403, 404, 405):
            return None
        return self._json(response, path, "")

    async def ask(
        self, path: str, body: Mapping[str, Any], what: str
    ) -> dict[str, Any]:
        """The answer to one request, ``what`` in messages. Raises LogdriftError."""
        response = await self._tried("POST", path, what, body=body)
        if response.status_code != 200:
            self._refuse(response, path, what)
        answer = self._json(response, path, what)
        if not isinstance(answer, dict):
            raise self.mismatch(f"{what}: the answer is no object")
        return answer

    def error(self, reason: str, remedy: str | None = None) -> LogdriftError:
        """An error about this server, without its key."""
        return LogdriftError(self._plain(reason), where=self._where, remedy=remedy)

    def mismatch(self, reason: str) -> MismatchError:
        """The error for an answer that cannot be accepted."""
        return MismatchError(self._plain(reason), where=self._where)

    def _plain(self, text: str) -> str:
        known = []
        if self._key is not None:
            known.append(self._key.value)
        return masked_text(text, known)

    # -- one request, until it is answered

    async def _tried(
        self,
        method: str,
        path: str,
        what: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        if self._paths.get(path) != method:
            raise AssertionError(f"{method} {path} is not among the allowed paths")
        retries = Retries(self._patience)
        request = self._http.build_request(
            method, f"{self.address}{path}", json=body, params=query
        )
        while True:
            try:
                async with self._throttle.place():
                    response = await self._once(request)
            except Transient as failure:
                self._throttle.pushed_back()
                wait = retries.wait_after(failure)
                if wait is None:
                    raise self._gone(failure, path, what) from None
                await asyncio.sleep(wait)
            else:
                self._patience.answered()
                self._throttle.answered()
                return response

    async def _once(self, request: httpx2.Request) -> httpx2.Response:
        """One try. Raises Transient where another one may help."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._received(request)
        except TimeoutError:
            reason = f"gave no whole answer within {self._seconds:g} seconds"
            raise Transient(reason, kind="timeout") from None
        except httpx2.TransportError as error:
            raise Transient(_words_of(error)) from None
        status = response.status_code
        if status in _BUSY:
            after = seconds_of(response.headers.get("Retry-After"))
            reason = self._said(response)
            raise Transient(reason, kind="busy", after=after)
        if status >= 500:
            self._patience.answered()
            raise Transient(self._said(response), kind="fault")
        return response

    async def _received(self, request: httpx2.Request) -> httpx2.Response:
        """The whole response, of bounded size."""
        response = await self._http.send(request, stream=True)
        try:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _LARGEST_ANSWER:
                    raise self.error("its answer is larger than 1 GiB")
        finally:
            await response.aclose()
        headers = httpx2.Headers(response.headers)
        headers.pop("Content-Encoding", None)
        return httpx2.Response(
            response.status_code, headers=headers, content=bytes(content)
        )

    def _gone(self, failure: Transient, path: str, what: str) -> LogdriftError:
        remedies = {
            "lost": "start it, and go on with --resume",
            "busy": "give it time, or a smaller concurrency=, and go on with --resume",
            "timeout": "give a longer timeout=, or look at what it does",
            "fault": "its own log says why",
        }
        request = f"{path} for {what}" if what else path
        reason = f"{request}: {failure.reason}"
        return self.error(reason, remedies[failure.kind])

    # -- what a response says

    def _refuse(self, response: httpx2.Response, path: str, what: str) -> NoReturn:
        """Raise for an answer that trying again would not change."""
        status = response.status_code
        request = f"{path} for {what}" if what else path
        if response.is_redirect:
            target = response.headers.get("Location", "")
            reason = f"{request}: it redirects to {visible(target)[:_LONGEST_WORDS]}"
            raise self.error(reason, "give the address that answers itself")
        if status in (401, 403):
            raise self.error(f"{request}: {self._said(response)}", self._key_remedy())
        raise self.error(f"{request}: {self._said(response)}")

    def _key_remedy(self) -> str:
        if self._key is not None:
            return f"the key of {self._key.source} is not the one that it wants"
        return (
            f"put its key into {self._variable}, or name the place of it with"
            " key_env=NAME or key_file=FILE"
        )

    def _said(self, response: httpx2.Response) -> str:
        """``it answered 500: WORDS``, in one line."""
        words = _message_in(response.content)
        status = f"it answered {response.status_code}"
        if not words:
            return status
        return self._plain(f"{status}: {words}")

    def _json(self, response: httpx2.Response, path: str, what: str) -> Any:
        if response.status_code != 200:
            self._refuse(response, path, what)
        place = what or path
        try:
            return json.loads(response.content, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            kind = str(error)[:_LONGEST_WORDS]
            raise self.mismatch(f"{place}: the answer is no JSON: {kind}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def _words_of(error: httpx2.TransportError) -> str:
    if isinstance(error, httpx2.ConnectTimeout):
        return f"nothing answers within {_CONNECT_SECONDS:g} seconds"
    if isinstance(error, httpx2.ConnectError):
        return f"nothing answers ({_short(str(error))})"
    words = _short(str(error)) or type(error).__name__
    return f"the connection was lost ({words})"


def _message_in(content: bytes) -> str:
    """What a server says is wrong: the message of its JSON, else the beginning of its
    text.
    """
    text = content[: 1 << 16].decode("utf-8", "replace")
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return _short(text)
    while isinstance(data, dict):
        inner = data.get("error") or data.get("message") or data.get("detail")
        if inner is None:
            break
        data = inner
    if isinstance(data, str):
        return _short(data)
    return _short(text)


def _short(text: str) -> str:
    line = visible(" ".join(text.split()))
    if len(line) <= _LONGEST_WORDS:
        return line
    return f"{line[: _LONGEST_WORDS - 1]}…"
