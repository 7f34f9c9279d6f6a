"""What the gateway's answer says of each event of a request. No input, no output: bytes to a verdict."""

from __future__ import annotations

import email.utils
import enum
import json
import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from .limits import RETRY_AFTER_SECONDS_MAX


class Next(enum.Enum):
    """What to do after this answer."""

    GO_ON = "go on"
    # Send again after a pause: it will pass by itself.
    WAIT = "wait"
    # Send again after a long pause: a person must mend it.
    HOLD = "hold"
    # Send fewer events at once, because one of them, or their number, is the fault.
    SPLIT = "split"


@dataclass
class Verdict:
    next: Next
    accepted: int = 0
    duplicates: int = 0
    # Places in the request that are settled, whatever became of them.
    settled: List[int] = field(default_factory=list)
    # Places that the gateway looked at, and wants once more later.
    later: List[int] = field(default_factory=list)
    # Whether that lies in these events alone, so that others need not wait.
    is_theirs: bool = False
    # Why those are rejected that are; each of them is settled.
    rejected: Dict[int, Dict[str, Any]] = field(default_factory=dict)
    # Why nothing, or not all, was settled: a stable code of the gateway, or a short text.
    problem: Optional[str] = None
    detail: str = ""
    retry_after: Optional[float] = None


# Nothing was taken, and the next attempt may fare better. 425 and 502 to 504 are those of proxies.
_PASSES = {408, 425, 429, 500, 502, 503, 504, 507, 509, 529}
# The request is wrong as it is. Only the gateway's own word (a problem with a code) is taken for 400 and 415.
_TOO_LARGE, _WRONG = 413, {400, 414, 415, 422}
# Why an event is `retry` while others are taken: another request holds it, it is wrong and cannot be kept, its disk block is damaged.
_OF_THE_EVENT = {"in_flight", "dead_letters_full", "lost"}


def read(status: int, body: bytes, retry_after: Optional[str], count: int) -> Verdict:
    """The verdict on a request of `count` events."""
    answer = _object(body)
    wait = _seconds(retry_after)
    if status in (200, 202, 207, 422, 503):
        verdict = _by_event(answer, count)
        if verdict is not None:
            verdict.retry_after = wait
            return verdict
    code = answer.get("code")
    problem = code if isinstance(code, str) else f"status {status}"
    detail = str(answer.get("detail", ""))[:500]
    if status in _PASSES:
        step = Next.WAIT
    elif status == _TOO_LARGE or (status in _WRONG and isinstance(code, str)):
        step = Next.SPLIT
    else:
        # 401, 403, 404, a redirect, a login page of a network: not the events' fault.
        step = Next.HOLD
    return Verdict(step, problem=problem, detail=detail, retry_after=wait)


def _by_event(answer: Dict[str, Any], count: int) -> Optional[Verdict]:
    """By `results`; None where the counts are not those of this request, because then the answer is none of the gateway's."""
    counts = [answer.get(name) for name in ("accepted", "duplicates", "rejected", "retry")]
    results = answer.get("results")
    if not all(type(number) is int and number >= 0 for number in counts) or not isinstance(results, list):
        return None
    accepted, duplicates, rejected, retry = (int(number or 0) for number in counts)
    if accepted + duplicates + rejected + retry != count:
        return None
    listed: Dict[int, Dict[str, Any]] = {}
    for result in results:
        index = result.get("index") if isinstance(result, dict) else None
        if type(index) is int and 0 <= index < count:
            listed[index] = result
    of = {status: [index for index, result in listed.items() if result.get("status") == status] for status in ("rejected", "retry")}
    is_cut = answer.get("results_truncated") is True
    again = set(of["retry"])
    if len(again) != retry:
        # The gateway lists each `retry`. Where some lack, nobody knows which: all again, the stored ones are duplicates then.
        again = set(range(count)) - set(of["rejected"])
    elif len(of["rejected"]) != rejected:
        # `results` has a limit, and rejections beyond it are not named. They are asked again in a smaller request.
        again |= set(range(count)) - set(listed)
    verdict = Verdict(Next.GO_ON, accepted=accepted, duplicates=duplicates)
    verdict.settled = [index for index in range(count) if index not in again]
    verdict.rejected = {index: error if isinstance(error := listed[index].get("error"), dict) else {} for index in of["rejected"]}
    if again:
        errors = [listed[index].get("error") if index in listed else None for index in sorted(again)]
        codes = [str(error.get("code", "retry")) if isinstance(error, dict) else "retry" for error in errors]
        verdict.problem, verdict.is_theirs = codes[0], _OF_THE_EVENT.issuperset(codes)
        verdict.next = Next.WAIT
        verdict.later = sorted(again)
        if is_cut and not retry:
            verdict.next, verdict.problem, verdict.later = Next.SPLIT, "results_truncated", []
        if len(again) > len(of["retry"]):
            # They are counted when their own answer names them.
            verdict.accepted = verdict.duplicates = 0
    return verdict


def _object(body: bytes) -> Dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _seconds(text: Optional[str]) -> Optional[float]:
    """`Retry-After`, as seconds or as a date."""
    if text is None:
        return None
    try:
        seconds = float(int(text))
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
