"""An OpenTelemetry collector: takes OTLP over HTTP and decodes it with OpenTelemetry's own protobuf."""

import gzip
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


class Collector:
    """`requests` are those with traces, `metrics` those with metrics: path, headers, and what was decoded."""

    def __init__(self, tls: Path | None = None):
        self.requests, self.metrics, self.status = [], [], 200
        # What is said of the metrics that were taken.
        self.metrics_answer = ExportMetricsServiceResponse()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                if self.path.endswith("/v1/metrics"):
                    taken, form, answer = collector.metrics, ExportMetricsServiceRequest, collector.metrics_answer
                else:
                    taken, form, answer = collector.requests, ExportTraceServiceRequest, ExportTraceServiceResponse()
                taken.append((self.path, dict(self.headers), form.FromString(body)))
                answer = answer.SerializeToString()
                self.send_response(collector.status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"{'https' if tls else 'http'}://localhost:{self.server.server_address[1]}"

    def spans(self):
        return [(spans.resource, span) for _, _, request in self.requests for spans in request.resource_spans
                for scope in spans.scope_spans for span in scope.spans]

    def named(self, name):
        return [span for _, span in self.spans() if span.name == name]


def attributes(thing) -> dict:
    """The attributes of a span, a resource or a point."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in thing.attributes}
