"""One kept-alive connection to the gateway."""

from __future__ import annotations

import base64
import codecs
import gzip
import http.client
import os
import ssl
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Tuple, Union
from urllib.parse import SplitResult, unquote, urlsplit

from .limits import ANSWER_BYTES_MAX, GZIP_BYTES_MIN, GZIP_RATIO_MAX, IDLE_SECONDS_MAX
from .version import VERSION

PATH = "/v1/events"
# A name is looked up with this codec, which Python loads at its first use. A child that is forked while another thread loads it
# would never find it.
codecs.lookup("idna")


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    retry_after: Optional[str]


class Connection:
    """Posts bodies. Of one thread."""

    def __init__(self, url: str, key: Optional[str], cafile: Optional[Union[str, Path]], timeout: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of a gateway, such as https://events.example.com")
        path = parts.path.rstrip("/")
        self._path = path if path.endswith(PATH) else path + PATH
        self._parts, self._timeout = parts, timeout
        # Verified against the system's authorities, or SSL_CERT_FILE; `cafile` is in their place.
        self._context = ssl.create_default_context(cafile=str(cafile) if cafile else None) if parts.scheme == "https" else None
        self._headers = {"Content-Type": "application/x-ndjson", "User-Agent": f"lakegate-python/{VERSION}"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._open: Optional[http.client.HTTPConnection] = None
        self._target = self._path
        self._last_use = 0.0
        # Kept, so that nothing of it is closed by the way.
        self._parents: Optional[http.client.HTTPConnection] = None

    def post(self, body: bytes) -> Answer:
        """One request. Raises OSError or http.client.HTTPException where there is no answer."""
        headers = dict(self._headers)
        if len(body) >= GZIP_BYTES_MIN:
            packed = gzip.compress(body, compresslevel=4)
            if len(body) <= GZIP_RATIO_MAX * len(packed):
                body = packed
                headers["Content-Encoding"] = "gzip"
        if self._open is not None and time.monotonic() - self._last_use > IDLE_SECONDS_MAX:
            self.close()
        is_kept = self._open is not None
        try:
            return self._exchange(body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # The other side may have closed a kept connection at this very moment. That is no failure: once more, at once.
            if not is_kept or isinstance(error, TimeoutError):
                raise
        try:
            return self._exchange(body, headers)
        except BaseException:
            self.close()
            raise

    def _exchange(self, body: bytes, headers: Dict[str, str]) -> Answer:
        connection = self._open or self._connect()
        self._open = connection
        if connection.sock is None:
            # Apart from the request: what fails here is not answered.
            connection.connect()
        try:
            connection.request("POST", self._target, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # The gateway may have answered before it had read all, such as 413. That answer is worth more than the broken pipe.
            pass
        response = connection.getresponse()
        answer = response.read(ANSWER_BYTES_MAX)
        self._last_use = time.monotonic()
        if response.will_close or not response.isclosed():
            self.close()
        return Answer(response.status, answer, response.getheader("Retry-After"))

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        proxy = _proxy_of(self._parts)
        if self._context is None:
            if proxy is None:
                return http.client.HTTPConnection(host, port, timeout=self._timeout)
            self._target = f"http://{self._parts.netloc}{self._path}"
            self._headers.update(proxy[2])
            return http.client.HTTPConnection(proxy[0], proxy[1], timeout=self._timeout)
        if proxy is None:
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        tunnelled = http.client.HTTPSConnection(proxy[0], proxy[1], timeout=self._timeout, context=self._context)
        tunnelled.set_tunnel(host, port or 443, proxy[2])
        return tunnelled

    def close(self) -> None:
        connection, self._open = self._open, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """In a child after a fork: the connection is the parent's. Only the descriptor is closed, nothing is said on it.

        Not by `close`: a thread of the parent may have held a lock of its objects, which nobody will ever free here.
        """
        self._open, self._parents = None, self._open
        if self._parents is not None and self._parents.sock is not None:
            descriptor = self._parents.sock.detach()
            if descriptor >= 0:
                os.close(descriptor)


def _proxy_of(url: SplitResult) -> Optional[Tuple[str, Optional[int], Dict[str, str]]]:
    """The proxy of HTTPS_PROXY or HTTP_PROXY, where NO_PROXY does not except the gateway; with the headers that it wants."""
    named = urllib.request.getproxies().get(url.scheme)
    if not named or urllib.request.proxy_bypass(url.hostname or ""):
        return None
    proxy = urlsplit(named if "//" in named else f"http://{named}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise OSError(f"a proxy of the kind {proxy.scheme}:// is not known here")
    headers = {}
    if proxy.username:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    return proxy.hostname, proxy.port, headers
