# syntax=docker/dockerfile:1
# Three images from one file: `builder` makes the parts, `dev` reloads mounted source, the last and default one serves.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS builder
# Same sources, same bytes: every file gets this time, and bytecode depends on the source only. Bytecode is made here
# because at run time nothing can be written to these directories.
ARG SOURCE_DATE_EPOCH=315532800
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
COPY requirements/run.lock ./
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --quiet --no-compile --no-deps --require-hashes --only-binary :all: --requirement run.lock
COPY pyproject.toml setup.cfg setup.py README.md LICENSE ./
COPY fastprice fastprice
# The build tool comes from the lock as well, and is removed after the build.
RUN pip --python /opt/venv/bin/python install --quiet --no-compile --no-deps --no-build-isolation --target /opt/fastprice . \
 && rm -rf /opt/fastprice/bin /opt/fastprice/*.dist-info/direct_url.json \
 && pip --python /opt/venv/bin/python uninstall --quiet --yes setuptools
COPY docker/health.py /opt/fastprice/
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib /opt/fastprice \
 && find /opt/venv /opt/fastprice -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH}" {} +

FROM python:${PYTHON} AS runtime
# Large parts that seldom change come first, small parts that often change come last.
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /opt/fastprice /opt/fastprice
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/fastprice PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# This id has no user name: files of this image belong to root, and no file belongs to this id.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Liveness, because some tools restart an unhealthy container, and a restart would bring back neither an exchange nor
# Redis. The compose files use readiness instead: there it only decides how long `up --wait` waits.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-I", "/opt/fastprice/health.py", "/health/liveness"]
ENTRYPOINT ["python", "-m", "fastprice.cli"]

FROM runtime AS dev
# The source is mounted at /src/fastprice and found before the installed one.
ENV PYTHONPATH=/src:/opt/fastprice
WORKDIR /src
CMD ["serve", "--reload"]

FROM runtime
ARG VERSION=unknown REVISION=unknown CREATED=1980-01-01T00:00:00Z
LABEL org.opencontainers.image.title="fastprice" \
      org.opencontainers.image.description="The current price of a crypto pair, fast, and honest about its age" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
CMD ["serve"]
