# Tagger with PyTorch for the CPU (`docker build .`) or for CUDA (`docker build --target cuda .`).
# The CUDA libraries come with PyTorch's wheels: the host needs a driver and the NVIDIA container toolkit.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim-trixie AS base
ENV PATH=/opt/tagger/bin:$PATH

# -- what is installed, before our own code: these layers change with pyproject.toml alone ----------
FROM base AS builder
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/tagger
RUN --mount=type=cache,target=/root/.cache/pip pip install "uv>=0.9,<1"
RUN uv venv /opt/tagger
WORKDIR /src
COPY pyproject.toml ./

FROM builder AS dependencies-cpu
ARG EXTRAS="--extra raw --extra jxl"
# hadolint ignore=SC2086
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --torch-backend cpu $EXTRAS -r pyproject.toml

FROM builder AS dependencies-cuda
ARG EXTRAS="--extra raw --extra jxl --extra gpu"
# hadolint ignore=SC2086
RUN --mount=type=cache,target=/root/.cache/uv uv pip install $EXTRAS -r pyproject.toml

FROM builder AS wheel
COPY . ./
RUN --mount=type=cache,target=/root/.cache/uv uv build --wheel --out-dir /dist

# -- what runs: no compiler, no installer, no root ---------------------------------------------------
FROM base AS running
LABEL org.opencontainers.image.title="Tagger" \
      org.opencontainers.image.description="Batch image tagging into SQL" \
      org.opencontainers.image.licenses="Apache-2.0"
# Any user may be told to run this (compose: TAGGER_USER): the folders are writable to all, and one who is
# not in /etc/passwd still has a home and a name.
RUN useradd --uid 10001 --user-group --home-dir /tmp --no-create-home --shell /usr/sbin/nologin tagger \
    && install --directory --mode 1777 /cache /data
ENV HOME=/tmp USER=tagger PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TAGGER_CACHE_DIR=/cache TAGGER_DATA_DIR=/data
WORKDIR /tmp
ENTRYPOINT ["tagger"]
CMD ["--help"]

FROM running AS cuda
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=dependencies-cuda /opt/tagger /opt/tagger
RUN --mount=from=builder,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=from=wheel,source=/dist,target=/dist \
    uv pip install --python /opt/tagger --no-deps --no-index --no-cache --compile-bytecode /dist/*.whl
USER 10001:10001

FROM running AS cpu
COPY --from=dependencies-cpu /opt/tagger /opt/tagger
RUN --mount=from=builder,source=/usr/local/bin/uv,target=/usr/local/bin/uv \
    --mount=from=wheel,source=/dist,target=/dist \
    uv pip install --python /opt/tagger --no-deps --no-index --no-cache --compile-bytecode /dist/*.whl
USER 10001:10001
