"""Who gets in: Host, Origin, token, size and share of every request, before anything is read or decided.

Flow: server -> Problems -> *Guard* -> Router -> handlers; Shares beside it. The threat is a web page in the owner's
own browser: DNS rebinding (its name resolves to 127.0.0.1: the Host header gives it away), requests across sites
(Origin and Sec-Fetch-Site do), and other users of the machine (the token does). There is no CORS: no page of another
origin reads anything. Guests, whose tokens the owner gave, are held to their share.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qcommons.base.errors import Unavailable, UsageError
from qcommons.jobs.outcomes import ErrorInfo
from qcommons.node.api.door import OWNER
from qcommons.node.api.problem import RETRY_AFTER_S, HttpFailure
from qcommons.node.api.shares import GUEST_BODY_BYTES_MAX, SUBMISSION_BYTES_MAX, Shares, What

__all__ = ["BODY_BYTES_MAX", "Guard"]

BODY_BYTES_MAX = 1 << 20
UPLOADS_BYTES_MAX = 4 * SUBMISSION_BYTES_MAX  # of all large bodies at once: decoded, each takes a few times its size
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
SAME_SITE = frozenset({b"same-origin", b"none"})
TOKEN_CHARS_MAX = 512
SINGLE = (b"host", b"authorization", b"origin", b"sec-fetch-site")  # twice: each side may read another one


class Guard:
    """ASGI. What it says in the scope of a request:

        qcommons.who       the principal of the token, None on open paths without one
        qcommons.valid     () -> bool: the token still stands for that principal (long answers ask again)
        qcommons.taken     (amounts) -> a context that holds these of the shares of whoever asks
        qcommons.vouched   True while the request of an owner or of a guest with a share goes on: the connection is
                           not ended for a newcomer

    principal_of: of a token (`Door.principal_of`). open_paths: need none. streams: paths whose answers go on.
    hosts: further names this node is called by. body_bytes: (method, path) -> most bytes of its body.
    """

    def __init__(
        self,
        app: ASGIApp,
        principal_of: Callable[[str], str | None],
        *,
        open_paths: Iterable[str],
        streams: Iterable[str],
        body_bytes: Callable[[str, str], int],
        hosts: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._principal_of = principal_of
        self._open_paths = frozenset(open_paths)
        self._streams = frozenset(streams)
        self._shares = Shares()
        self._body_bytes = body_bytes
        self._held_bytes = 0  # of large bodies that are being read or worked on
        self._names = LOCAL_NAMES | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        for name in SINGLE:
            if sum(given == name for given, _ in scope["headers"]) > 1:
                raise _refused(400, "given twice; once is allowed", name.decode())
        host = headers.get(b"host", b"").decode("latin-1").lower()
        self._check_host(host, scope.get("server"))
        _check_site(headers, host)
        token = _token(headers)
        who = self._principal_of(token) if token else None
        open_path = scope["path"] in self._open_paths
        if who is None and not open_path:
            raise _unknown(headers)
        scope["qcommons.who"] = who
        scope["qcommons.valid"] = lambda: self._principal_of(token) == who
        limit = self._body_bytes(scope["method"], scope["path"])
        if who != OWNER:
            limit = min(limit, GUEST_BODY_BYTES_MAX)
        size = _body_size(headers, limit)
        large = size if size > BODY_BYTES_MAX else 0
        sharer = who if who == OWNER or not open_path else None
        amounts: dict[What, int] = {"requests": 1, "streams": scope["path"] in self._streams, "upload_bytes": large}
        scope["qcommons.taken"] = partial(self._shares.taken, sharer)
        with self._shares.taken(sharer, amounts):
            self._hold(large)
            scope["qcommons.vouched"] = sharer is not None
            try:
                await self._app(scope, _capped(receive, limit), send)
            finally:
                scope["qcommons.vouched"] = False
                self._held_bytes -= large

    def _hold(self, large: int) -> None:
        """Room for a large body, also one of the owner. Raises HttpFailure."""
        if self._held_bytes + large > UPLOADS_BYTES_MAX:
            limit = f"{UPLOADS_BYTES_MAX} bytes"
            error = ErrorInfo(Unavailable.who, "too many large uploads at once; try again", "body", limit)
            raise HttpFailure(503, error, [(b"retry-after", str(RETRY_AFTER_S).encode())])
        self._held_bytes += large

    def _check_host(self, host: str, server: tuple[str, int | None] | None) -> None:
        """Ours by name, or literally the address that was reached; with the port that was reached."""
        address, port = server or ("", None)
        name, _, given = host.rpartition(":") if ":" in host.rpartition("]")[2] else (host, "", "80")
        known = name in self._names or (_is_address(name) and name.strip("[]") == address)
        if not known or (port is not None and given != str(port)):
            what = (
                f"Host {host[:80]!r} is none of this node's names; call it 127.0.0.1, localhost or [::1] and its port"
            )
            raise _refused(403, what, "host")


def _token(headers: dict[bytes, bytes]) -> str:
    """The bearer token of a request, "" if it has none that could be one."""
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    token = token.strip()
    usable = scheme.lower() == "bearer" and len(token) <= TOKEN_CHARS_MAX and token.isascii()
    return token if usable else ""


def _unknown(headers: dict[bytes, bytes]) -> HttpFailure:
    sent = b"authorization" in headers
    what = "wrong or expired token" if sent else "no token: send Authorization: Bearer and the node's token"
    return HttpFailure(401, ErrorInfo(UsageError.who, what, "token"), [(b"www-authenticate", b"Bearer")])


def _body_size(headers: dict[bytes, bytes], limit: int) -> int:
    """Bytes of the body as announced, `limit` where nothing is. Raises HttpFailure where that is more than `limit`."""
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit():
        raise _refused(400, "no number of bytes", "content-length")
    if len(announced) > 18 or int(announced) > limit:
        raise _too_long(limit)
    return limit if b"transfer-encoding" in headers else int(announced)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _check_site(headers: dict[bytes, bytes], host: str) -> None:
    """Fetch Metadata (W3C), sent by every current browser, and Origin (RFC 6454)."""
    if headers.get(b"sec-fetch-site", b"none").lower() not in SAME_SITE:
        raise _refused(403, "requests from other sites are refused", "sec-fetch-site")
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1").lower() not in (f"http://{host}", f"https://{host}"):
        raise _refused(403, f"Origin {origin[:80]!r} is not this node: requests from other sites are refused", "origin")


def _capped(receive: Receive, limit: int) -> Receive:
    """`receive` that ends with 413 once more than `limit` bytes of body came, whatever was announced."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_long(limit)
        return message

    return counted


def _refused(status: int, what: str, where: str) -> HttpFailure:
    return HttpFailure(status, ErrorInfo(UsageError.who, what, where))


def _too_long(limit: int) -> HttpFailure:
    text = f"{limit} bytes"
    return HttpFailure(413, ErrorInfo(UsageError.who, f"the body is longer than {text}", "body", text))
