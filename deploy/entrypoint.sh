#!/bin/sh
# Start one process of the platform: the same programs, with the same arguments, that `make run` supervises.
set -eu

celery_worker() {
    exec python -m celery -A fraudsite.celery worker --loglevel WARNING --without-gossip --without-mingle "$@"
}

case "${1:-web}" in
web)
    # In memory: a process that maps a file of a full disk is killed when it writes to it.
    PROMETHEUS_MULTIPROC_DIR=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
    export PROMETHEUS_MULTIPROC_DIR FRAUDSITE_PROCESS=web
    exec python -m gunicorn -c python:fraudsite.gunicorn_conf fraudsite.wsgi
    ;;
worker-realtime)
    export FRAUDSITE_PROCESS=worker-realtime
    celery_worker -Q realtime -c "${WORKER_CONCURRENCY:-2}" -n realtime@%h
    ;;
worker-batch)
    export FRAUDSITE_PROCESS=worker-batch
    celery_worker -Q batch -c "${WORKER_CONCURRENCY:-1}" -n batch@%h
    ;;
worker-default)
    export FRAUDSITE_PROCESS=worker-default
    celery_worker -Q default -c "${WORKER_CONCURRENCY:-2}" -n default@%h
    ;;
beat)
    export FRAUDSITE_PROCESS=beat
    exec python -m celery -A fraudsite.celery beat --loglevel WARNING --pidfile=
    ;;
kafka-consumer)
    export FRAUDSITE_PROCESS=kafka-consumer
    exec python manage.py consume_kafka
    ;;
bootstrap)
    # Before the others: migrations, the admin user, the rule pack, static files. No API key: staff makes those.
    exec python manage.py bootstrap --production
    ;;
*)
    exec python manage.py "$@"
    ;;
esac
