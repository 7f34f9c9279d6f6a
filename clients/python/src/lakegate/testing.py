"""What a test says of the events of an application: ``lakegate dev`` has them, and this asks it.

With pytest, the fixture ``lakegate_rig`` is there as soon as the package is installed::

    def test_an_order_is_told(lakegate_rig, shop):
        shop.order("bacalhau")
        lakegate_rig.expect("menu:item:ordered", count=1, where={"item_id": "bacalhau"})
"""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Callable, Dict, List, Mapping, Optional, Union

ADMIN = "http://127.0.0.1:9090"
# The rig waits for at most so long; longer waits are several.
_WAIT_MAX_SECONDS = 30.0

Payload = Dict[str, Any]
Where = Union[Mapping[str, Any], Callable[[Payload], object]]


class RigError(Exception):
    """The rig does not answer, or refuses the question."""


class Rig:
    """``lakegate dev`` at ``admin``, or at the address in the environment as LAKEGATE_DEV."""

    def __init__(self, admin: Optional[str] = None) -> None:
        self.admin = admin or os.environ.get("LAKEGATE_DEV") or ADMIN
        # The rig is on this machine: no proxy is asked.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @property
    def url(self) -> str:
        """Where the application sends its events."""
        return str(self._ask("/admin/console", {})["first_event"]["url"])

    def expect(
        self,
        event: str,
        count: int = 1,
        *,
        at_least: bool = False,
        status: str = "accepted",
        where: Optional[Where] = None,
        key: Optional[str] = None,
        timeout: float = 5.0,
    ) -> List[Payload]:
        """Waits for ``count`` events of this name (``menu:*`` is a pattern), exactly so many unless ``at_least``.

        Returns their payloads. Raises AssertionError with what came instead.
        """
        query = {"event": event, "status": status, "key": key}
        found = self._until(query, timeout, where, count)
        if len(found) == count or (at_least and len(found) > count):
            return [seen["payload"] for seen in found]
        raise AssertionError(self._why(event, count, at_least, status, where, timeout, len(found)))

    def never(
        self, event: str, *, seconds: float = 0.0, status: str = "accepted", where: Optional[Where] = None, key: Optional[str] = None
    ) -> None:
        """Raises AssertionError if such an event is there, or comes within ``seconds``."""
        found = self._until({"event": event, "status": status, "key": key}, seconds, where, 1)
        if found:
            raise AssertionError(f"{event} came, and should not: {json.dumps(found[0]['payload'])}")

    def events(self, **query: Any) -> List[Dict[str, Any]]:
        """The events since the reset, the oldest first; ``event``, ``status``, ``key`` and ``limit`` choose."""
        return list(self._ask("/dev/events", query)["events"])

    def reset(self) -> None:
        """Forgets the events, and ends the faults."""
        self._ask("/dev/reset", {}, {})

    def fault(self, **fault: Any) -> None:
        """Asks for a fault: ``status=503, for_ms=4000``, ``latency_ms=300``, ``sink="down"``."""
        self._ask("/dev/faults", {}, fault)

    def _until(self, query: Dict[str, Any], seconds: float, where: Optional[Where], count: int) -> List[Dict[str, Any]]:
        end = time.monotonic() + seconds
        while True:
            all_of_name = self.events(**query)
            found = [seen for seen in all_of_name if _matches(seen.get("payload"), where)]
            left = end - time.monotonic()
            if len(found) >= count or left <= 0:
                return found
            # One more than there are.
            more = {"count": len(all_of_name) + 1, "timeout": min(left, _WAIT_MAX_SECONDS), "limit": 1}
            self._ask("/dev/wait", {**query, **more})

    def _ask(self, path: str, query: Mapping[str, Any], body: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
        query = {name: value for name, value in query.items() if value is not None}
        url = f"{self.admin}{path}?{urllib.parse.urlencode(query)}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"} if data is not None else {})
        try:
            with self._opener.open(request, timeout=2 * _WAIT_MAX_SECONDS) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            try:
                document = dict(json.load(error))
            except ValueError:
                document = {"detail": f"it is no rig: {path} answers {error.code}"}
            if error.code == 408:
                return document
            raise RigError(f"{path}: {document.get('detail')}") from None
        except (urllib.error.URLError, OSError) as error:
            hint = "start `lakegate dev`, or set LAKEGATE_DEV to its address"
            raise RigError(f"nothing answers at {self.admin}: {hint} ({error})") from None

    def _why(
        self, event: str, count: int, at_least: bool, status: str, where: Optional[Where], timeout: float, came: int
    ) -> str:
        wanted = f"{event} {status}" + (f" where {where}" if where is not None else "")
        expected = ("at least " if at_least else "") + _several(count)
        lines = [f"{wanted}: expected {expected} within {timeout:g} s, came {_several(came)}."]
        everything = self.events()
        for seen in [seen for seen in everything if seen["outcome"] == "rejected"][-5:]:
            place = f" at {seen['pointer']}" if seen.get("pointer") else ""
            lines.append(f"rejected: {seen.get('event_name', 'no name')}: {seen['code']}{place}: {seen['detail']}")
        names: Dict[str, int] = {}
        for seen in everything:
            name = f"{seen.get('event_name', 'no name')} {seen['outcome']}"
            names[name] = names.get(name, 0) + 1
        lines += [f"came: {name}, {_several(times)}" for name, times in names.items()]
        if not everything:
            lines.append("No event came at all: does the application send to the address and with a key that `lakegate dev` printed?")
        return "\n".join(lines)


def _several(times: int) -> str:
    return {0: "never", 1: "once"}.get(times, f"{times} times")


def _matches(payload: Any, where: Any) -> bool:
    if where is None:
        return True
    if callable(where):
        return payload is not None and bool(where(payload))
    return _has(payload, where)


def _has(payload: Any, part: Any) -> bool:
    if isinstance(part, Mapping):
        return isinstance(payload, dict) and all(name in payload and _has(payload[name], value) for name, value in part.items())
    return bool(payload == part)
