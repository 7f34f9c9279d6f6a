"""`WATCH=1`: draws the page again when the lake has new files, and serves it on this machine, where it takes what is new into itself."""

import hashlib
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

POLL_SECONDS = 2


def state(lake: Path) -> tuple:
    """Something that changes when the lake does: the newest commit of its table, or its files where it has no table."""
    commits = max((file.name for file in (lake / "_delta_log").glob("*.json")), default="")
    return ("commit", commits) if commits else ("files", *sorted(str(file) for file in lake.glob("event_type=*/*/[!_.]*.parquet")))


def _handler(out: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.partition("?")[0] != "/":
                self.send_error(404)
                return
            body = out.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            fresh = self.headers.get("If-None-Match") == tag
            self.send_response(304 if fresh else 200)
            for name, value in (("Content-Type", "text/html; charset=utf-8"), ("ETag", tag), ("Cache-Control", "no-cache")):
                self.send_header(name, value)
            self.send_header("Content-Length", "0" if fresh else str(len(body)))
            self.end_headers()
            if not fresh:
                self.wfile.write(body)

        def log_message(self, *_):
            """Nobody wants to read of each poll."""

    return Handler


def watch(lake: Path, out: Path, port: int, draw: Callable[[], None]) -> None:
    """Until Ctrl-C. A page that cannot be drawn this time is drawn the next time."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(out))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    drawn = state(lake)
    draw()
    print(f"open http://localhost:{server.server_port}   (Ctrl-C ends it)", flush=True)
    while True:
        time.sleep(POLL_SECONDS)
        now = state(lake)
        if now != drawn:
            try:
                draw()
                drawn = now
            except Exception as error:  # noqa: BLE001: a file that has just left the table, for example
                print(f"not drawn, and tried again: {error}", flush=True)
