"""Requests to one running server: only to paths that change nothing, tried again where
that helps, and never with the key anywhere but in their header.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from logdrift.core.credentials import masked_text
from logdrift.core.errors import LogdriftError
from logdrift.core.plan.server import ServerOptions, base_address
from logdrift.core.servers.http import Connections, ServerRequest, ServerResponse
from logdrift.core.servers.keys import ServerKey
from logdrift.core.servers.retries import Patience, Retries, Transient
from logdrift.core.servers.throttle import Throttle
from logdrift.core.servers.words import short
from logdrift.core.worker.base import MismatchError

Body = Callable[[int], Mapping[str, Any]]
"""The body of a request for its first, second, ... try."""
_REMEDIES = {
    "lost": "start it, and go on with --resume",
    "busy": "give it time, or a smaller concurrency=, and go on with --resume",
    "timeout": "give a longer timeout=, or look at what it does",
    "fault": "its own log says why",
}
"""By the kind of a failure that did not pass."""
_KEPT_TO_ITSELF = (403, 404, 405)


class ServerClient:
    """One server. ``paths`` are those that may be asked for, each with its method;
    ``variable`` is where its key is looked for by itself. Raises InputError for an
    address that cannot be asked.
    """

    def __init__(
        self,
        address: str,
        options: ServerOptions,
        key: ServerKey | None,
        paths: Mapping[str, str],
        variable: str,
    ) -> None:
        self.address = base_address(address)
        self._where = f"server {self.address}"
        self._key = key
        self._variable = variable
        self._paths = paths
        self._throttle = Throttle(options.concurrency)
        self._patience = Patience(options.patience)
        self._connections = Connections(
            self.address, key, options.timeout, options.concurrency
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def look(self, path: str, **query: str) -> Any:
        """What the server says of itself at ``path``; None: it has no such path, or
        keeps it to itself. Raises LogdriftError.
        """
        request = self._request("GET", path, query=query)
        response = await self._tried(lambda number: request, path)
        if response.status in _KEPT_TO_ITSELF:
            return None
        self._check_status(response, path)
        return self._json(response, path)

    async def ask(self, path: str, body: Body, what: str) -> dict[str, Any]:
        """The answer to one request, ``what`` in messages. Raises LogdriftError."""
        place = f"{path} for {what}"
        response = await self._tried(
            lambda number: self._request("POST", path, body=body(number)), place
        )
        self._check_status(response, place)
        answer = self._json(response, what)
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

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> ServerRequest:
        assert self._paths.get(path) == method, f"{method} {path} is not allowed"
        address = f"{self.address}{path}"
        return ServerRequest(method, address, body=body, query=query)

    async def _tried(
        self, request: Callable[[int], ServerRequest], place: str
    ) -> ServerResponse:
        """The response to the first try that is answered. Raises LogdriftError."""
        retries = Retries(self._patience)
        while True:
            try:
                return await self._once(request(retries.number))
            except Transient as failure:
                self._throttle.pushed_back()
                wait = retries.wait_after(failure)
                if wait is None:
                    reason = f"{place}: {failure.reason}"
                    raise self.error(reason, _REMEDIES[failure.kind]) from None
            await asyncio.sleep(wait)

    async def _once(self, request: ServerRequest) -> ServerResponse:
        async with self._throttle.place():
            response = await self._connections.once(request)
        self._patience.answered()
        self._throttle.answered()
        return response

    # -- what a response says

    def _check_status(self, response: ServerResponse, place: str) -> None:
        """Raise for an answer that trying again would not change."""
        if response.status == 200:
            return
        if 300 <= response.status < 400:
            target = short(response.location)
            reason = f"{place}: it redirects to {target}"
            raise self.error(reason, "give the address that answers itself")
        remedy = None
        if response.status in (401, 403):
            remedy = self._key_remedy()
        raise self.error(f"{place}: {response.words()}", remedy)

    def _key_remedy(self) -> str:
        if self._key is not None:
            return f"the key of {self._key.source} is not the one that it wants"
        return (
            f"put its key into {self._variable}, or name the place of it with"
            " key_env=NAME or key_file=FILE"
        )

    def _json(self, response: ServerResponse, what: str) -> Any:
        try:
            return json.loads(response.content, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            reason = short(str(error))
            raise self.mismatch(f"{what}: the answer is no JSON: {reason}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")
