# Sends events to a Lakegate gateway: one per line on standard input. `send` is what you copy into your own service.
#   LAKEGATE_URL=https://localhost:8443/v1/events LAKEGATE_KEY=dev python3 send.py < events.ndjson > unsent.ndjson
import http.client, json, os, random, sys, time, urllib.error, urllib.request

URL, KEY = os.environ["LAKEGATE_URL"], os.environ["LAKEGATE_KEY"]
BATCH, TRIES = 500, 10
SETTLED = {200, 202, 207, 422}  # the answers that have the counts and `results`
total = {"accepted": 0, "duplicates": 0, "rejected": 0, "retry": 0}


def post(lines):
    """One request: its status (0: no answer that can be read), the answer, and the seconds that the gateway asks to wait."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/x-ndjson"}
    request = urllib.request.Request(URL, "\n".join(lines).encode(), headers)
    try:
        try:
            response = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as problem:
            response = problem
        answer, retry_after = response.read().decode(), response.headers.get("Retry-After", "")
        if response.status in SETTLED:
            answer = json.loads(answer)
            if sum(answer[count] for count in total) != len(lines):
                raise ValueError("the counts are not those of this request")
        return response.status, answer, int(retry_after) if retry_after.isdecimal() else 0
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        print("no answer that can be read:", error, file=sys.stderr)
        return 0, None, 0


def send(lines):
    """Sends until every event is settled, at most TRIES times. Gives what is left: keep it, and send it later."""
    for attempt in range(TRIES):
        status, answer, pause = post(lines)
        if status in SETTLED:
            for count in total:
                total[count] += answer[count]
            for result in answer["results"]:
                if result["status"] == "rejected":
                    error = result["error"]
                    print("rejected:", error["code"], error["pointer"], result.get("event_uuid", ""), file=sys.stderr)
            lines = [lines[result["index"]] for result in answer["results"] if result["status"] == "retry"]
            if not lines:
                return []
        elif status == 413 and len(lines) > 1:
            half = len(lines) // 2
            return send(lines[:half]) + send(lines[half:])
        elif status not in (0, 408, 429) and status < 500:
            print("the request is wrong:", status, answer, file=sys.stderr)
            return lines
        time.sleep(pause + random.random() * min(0.5 * 2**attempt, 60))
    return lines


if __name__ == "__main__":
    events, unsent = [line for line in sys.stdin.read().split("\n") if line.strip()], []
    for start in range(0, len(events), BATCH):
        unsent += send(events[start:start + BATCH])
    print("".join(line + "\n" for line in unsent), end="")
    settled = ", ".join(f"{name} {count}" for name, count in total.items() if name != "retry")
    print(f"{settled}, unsent {len(unsent)}", file=sys.stderr)
