# One static binary on nothing: no shell, no libc, no package manager.
#   docker build -t sluice:local .
#   docker build -t sluice:1.2.3 --build-arg VERSION=1.2.3 --build-arg COMMIT=$(git rev-parse HEAD) .
# Both images can come from a registry of your own. GO_IMAGE needs Go as go.mod says and CA certificates; BASE_IMAGE nothing at all.
ARG GO_IMAGE=golang:1.26-trixie
ARG BASE_IMAGE=scratch

FROM ${GO_IMAGE} AS build
ENV GOTOOLCHAIN=local
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X sluice/internal/version.release=${VERSION}" -o /out/sluice ./cmd/sluice
RUN mkdir -p /out/data /out/certs && cp /etc/ssl/certs/ca-certificates.crt /out/certs/

FROM ${BASE_IMAGE}
ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="sluice" \
      org.opencontainers.image.description="A gateway that turns Server-Sent Events backends into durable SSE APIs for very many clients" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /out/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/sluice /sluice
# Owned by the user below, so that a new volume is too.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
ENV SLUICE_DATA=/data
VOLUME /data
# Clients: plaintext, TLS. The ops listener stays on loopback unless SLUICE_OPS_ADDR opens it.
EXPOSE 8080 8443
# SIGTERM drains; give it more time than edge.drain.delay + fanout.drain.over + 30 s: docker run --stop-timeout 75.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["/sluice", "healthcheck"]
ENTRYPOINT ["/sluice"]
CMD ["serve"]
