"""What may be between a client and the gateway: passes requests on to it, unless the test says what else it answers."""

import gzip
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from gateway import Gateway


class Between:
    """A server on loopback. `answer` is a function of the events of a request; None passes it on."""

    def __init__(self, gateway: Gateway) -> None:
        # Lines of each request, in the order in which they came.
        self.seen: list[list[bytes]] = []
        self.connections = 0
        # (status, body, headers), "cut" for an end of the connection without an answer, "pass-and-cut" for one after the gateway has it.
        self.answer = lambda lines: None
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                between.connections += 1
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                plain = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
                lines = plain.split(b"\n")
                between.seen.append(lines)
                chosen = between.answer(lines)
                if chosen == "cut":
                    self.close_connection = True
                    return
                if chosen is None or chosen == "pass-and-cut":
                    to = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
                    to.request("POST", urlsplit(self.path).path, body, dict(self.headers))
                    got = to.getresponse()
                    kept = {name: value for name, value in got.getheaders() if name.lower() in ("content-type", "retry-after")}
                    answered = (got.status, got.read(), kept)
                    to.close()
                    if chosen == "pass-and-cut":
                        self.close_connection = True
                        return
                    chosen = answered
                status, body, headers = chosen
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
