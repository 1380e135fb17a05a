# The jobs, and as a second target the Flink cluster, from the same lock.
#
#   docker build --tag headrace .
#   docker build --tag headrace-flink --target flink .

FROM python:3.11-slim AS base
RUN pip install --no-cache-dir "uv>=0.9"
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY pyproject.toml uv.lock .python-version README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project --extra kafka --extra redis
COPY headrace.py ./
COPY streams ./streams
COPY models ./models
COPY operators ./operators
COPY jobs ./jobs
RUN uv sync --frozen --no-dev --extra kafka --extra redis
ENV PATH=/app/.venv/bin:$PATH
RUN useradd --uid 1000 --create-home headrace && install --directory --owner headrace /state
USER headrace

# Flink, Java, the connector, our code and this Python in one folder, as for any cluster.
FROM base AS package
USER root
RUN uv sync --frozen --no-dev --extra kafka --extra redis --extra stack --extra flink \
    && headrace flink package /opt/headrace

# Nothing but the package, on the system that it was made on; compose and Kubernetes say which of
# Flink's processes to run.
FROM python:3.11-slim AS flink
RUN useradd --uid 1000 --create-home headrace \
    && install --directory --owner headrace /flink /flink/kept /flink/tmp
COPY --from=package --chown=headrace /opt/headrace /opt/headrace
WORKDIR /flink
USER headrace
ENV FLINK_CONF_DIR=/flink/conf \
    FLINK_LOG_DIR=/flink/log \
    FLINK_PID_DIR=/flink/log
ENTRYPOINT ["/opt/headrace/bin/run"]

FROM base AS jobs
# Kernels compile once, here, not when the first event waits for them.
RUN headrace score - </dev/null
EXPOSE 9464
ENTRYPOINT ["headrace"]
CMD ["run"]
