# One image for every role: docker run carillon <role>. The database is elsewhere, so the embedded one stays out.
FROM python:3.12-slim AS build
WORKDIR /build
RUN python -m venv /opt/carillon
COPY requirements/server.lock requirements/
RUN /opt/carillon/bin/pip install --no-cache-dir --only-binary=:all: --require-hashes --requirement requirements/server.lock
COPY pyproject.toml README.md ./
COPY src src
COPY templates templates
RUN /opt/carillon/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --user-group --no-create-home carillon
COPY --from=build /opt/carillon /opt/carillon
ENV PATH=/opt/carillon/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER carillon
EXPOSE 3008
ENTRYPOINT ["carillon"]
CMD ["--help"]
