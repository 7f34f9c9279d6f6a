# syntax=docker/dockerfile:1
# Lakegate in a container: one program, no shell, no root. `docker build -t lakegate .`; docs/operate.md says how to run it.

FROM rust:1.95-bookworm AS build
WORKDIR /src
# As in a release: it can write to S3 too.
ARG FEATURES="s3"
COPY Cargo.toml Cargo.lock ./
COPY loadtest/bench loadtest/bench
# The pieces that `schemas new` gives to a folder that has none.
COPY schemas/common schemas/common
# What a gateway serves at /openapi.yaml.
COPY openapi.yaml ./
# What `lake build --queries` asks.
COPY queries/daily queries/daily
COPY queries/views.duckdb.sql queries/
COPY src src
# 0: without the profile, see ops/build-release.
ARG PGO=1
COPY ops/build-release ops/
COPY ops/pgo ops/pgo
RUN FEATURES="$FEATURES" PGO="$PGO" ops/build-release >/built \
    && install -D --strip "$(cat /built)" /out/lakegate \
    && mkdir /out/data

# glibc, libgcc and CA certificates, and nothing else; the user `nonroot` is 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Lakegate" \
      org.opencontainers.image.description="HTTPS event-collection gateway: validated, deduplicated and durable, into the data lake" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY --from=build /out/lakegate /usr/bin/lakegate
# Empty, so that a new volume belongs to the user.
COPY --from=build --chown=65532:65532 /out/data /var/lib/lakegate
COPY schemas /usr/share/lakegate/schemas
COPY LICENSE /usr/share/doc/lakegate/LICENSE
# Everything that is kept is in the volume, so the rest may be read-only. Beyond loopback the gateway starts only with [[keys]]
# and a certificate (or plaintext behind a load balancer).
ENV LAKEGATE__DATA_DIR=/var/lib/lakegate \
    LAKEGATE__SCHEMAS__DIR=/usr/share/lakegate/schemas \
    LAKEGATE__HTTP__LISTEN=0.0.0.0:8443 \
    LAKEGATE__ADMIN__LISTEN=0.0.0.0:9090
USER 65532:65532
VOLUME ["/var/lib/lakegate"]
# Events, and metrics for operators: keep the second one inside.
EXPOSE 8443 9090
# It stops within 27 s and stop.lame_duck_seconds, so `docker stop --time 30` at least: Docker kills after 10.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/usr/bin/lakegate", "health", "--live"]
ENTRYPOINT ["/usr/bin/lakegate"]
CMD ["serve"]
