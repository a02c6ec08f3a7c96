"""All settings, from the environment. `.env.example` lists every variable with its default."""

from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from fraudsite import environment, logging

BASE_DIR = Path(__file__).resolve().parent.parent


def _time_zone(name: str, default: str) -> str:
    value = environment.text(name, default)
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ImproperlyConfigured(f"{name} names no time zone of the IANA database: {value!r}.") from None
    return value


# --- The process -----------------------------------------------------------------------------------------------
DEBUG = environment.boolean("DEBUG", False)
SECRET_KEY = environment.text("SECRET_KEY")
ALLOWED_HOSTS = environment.words(
    "ALLOWED_HOSTS",
    "localhost,127.0.0.1,[::1]",
    form=r"\*|[\w.-]+|\[[0-9A-Fa-f:.]+\]",
    meaning="names of hosts without scheme and port, like fraud.example.com",
)
FRAUDSITE_HOME = Path(environment.text("FRAUDSITE_HOME", str(BASE_DIR / ".local"))).absolute()
PORT = environment.whole_number("PORT", 8000, minimum=1, maximum=65535)
ROOT_URLCONF = "fraudsite.urls"
WSGI_APPLICATION = "fraudsite.wsgi.application"

# --- The domain ------------------------------------------------------------------------------------------------
# Another form would be no payment's currency, and no payment would have a base amount.
BASE_CURRENCY = environment.text_like(
    "BASE_CURRENCY", "NGN", r"[A-Z]{3}", "a currency code of three capital letters, like NGN"
)
BUSINESS_TIME_ZONE = _time_zone("BUSINESS_TIME_ZONE", "UTC")
CNP_CHANNELS = environment.words(
    "CNP_CHANNELS",
    "card_not_present,web",
    form=r"[^A-Z]+",
    meaning="channels in lower case, as payments have them",
)
HIGH_RISK_MCC = environment.words("HIGH_RISK_MCC", "6011,7995,6051")
STRUCTURING_THRESHOLD = environment.decimal("STRUCTURING_THRESHOLD", "10000", minimum=1)
REQUIRE_RULE_APPROVAL = environment.boolean("REQUIRE_RULE_APPROVAL", False)
ON_RULE_ERROR = environment.choice("ON_RULE_ERROR", "review", ("review", "block"))

# --- Cases and webhooks ----------------------------------------------------------------------------------------
# Hours until a case should be closed, by priority (service level).
CASE_DUE_HOURS = {
    "critical": environment.whole_number("CASE_DUE_HOURS_CRITICAL", 4, minimum=1, maximum=10_000),
    "high": environment.whole_number("CASE_DUE_HOURS_HIGH", 24, minimum=1, maximum=10_000),
    "medium": environment.whole_number("CASE_DUE_HOURS_MEDIUM", 72, minimum=1, maximum=10_000),
    "low": environment.whole_number("CASE_DUE_HOURS_LOW", 168, minimum=1, maximum=10_000),
}
# An alert joins the open case about its account or user if that had its newest alert within this time.
CASE_GROUPING_HOURS = environment.whole_number("CASE_GROUPING_HOURS", 24, minimum=1, maximum=10_000)
# Webhooks go to public addresses only, and to these networks (CIDR), e.g. 10.20.0.0/16.
WEBHOOK_ALLOWED_NETWORKS = environment.networks("WEBHOOK_ALLOWED_NETWORKS")
WEBHOOK_TIMEOUT_S = environment.whole_number("WEBHOOK_TIMEOUT_S", 5, minimum=1, maximum=60)
WEBHOOK_MAX_ATTEMPTS = environment.whole_number("WEBHOOK_MAX_ATTEMPTS", 15, minimum=1, maximum=100)
# Days for which a delivery can be looked at and sent again after it was delivered or given up.
WEBHOOK_RETENTION_DAYS = environment.whole_number("WEBHOOK_RETENTION_DAYS", 30, minimum=1, maximum=36_500)

# --- Old transactions ------------------------------------------------------------------------------------------
# Nothing younger leaves the database (manage.py transactions_retire): five years, which regulators ask for at least.
RETENTION_MIN_DAYS = environment.whole_number("RETENTION_MIN_DAYS", 1827, minimum=1, maximum=36_500)
# Days for which it is kept who of staff looked at whose records.
RECORD_VIEW_RETENTION_DAYS = environment.whole_number(
    "RECORD_VIEW_RETENTION_DAYS", 400, minimum=1, maximum=36_500
)

# --- Batches and backtests -------------------------------------------------------------------------------------
# What the column engine of one worker may use before it spills to disk, and on how many cores.
BATCH_MEMORY_LIMIT = environment.text_like(
    "BATCH_MEMORY_LIMIT", "1GB", r"[0-9]+(\.[0-9]+)? ?[KMGTkmgt]i?[Bb]", "a size like 512MB or 2GB"
)
BATCH_THREADS = environment.whole_number("BATCH_THREADS", 2, minimum=1, maximum=256)
# Where windows are computed: in the worker itself (duckdb) or on Spark (requirements-spark.txt, docs/batch.md).
BATCH_ENGINE = environment.choice("BATCH_ENGINE", "duckdb", ("duckdb", "spark"))
BATCH_SPARK_MASTER = environment.text("BATCH_SPARK_MASTER", "local[2]")
# A folder that this machine and Spark's executors share; empty: the worker's temporary folder.
BATCH_SPARK_FOLDER = environment.text("BATCH_SPARK_FOLDER", "")
# Backtests that one principal may have waiting or running at a time.
BACKTESTS_PER_PRINCIPAL = environment.whole_number("BACKTESTS_PER_PRINCIPAL", 3, minimum=1, maximum=1000)

# --- The simulator ---------------------------------------------------------------------------------------------
CUSTOMER_POOL_SIZE = environment.whole_number("CUSTOMER_POOL_SIZE", 500, minimum=1, maximum=1_000_000)
FRAUD_RATE = environment.decimal("FRAUD_RATE", "0.10", minimum=0, maximum=1)
TRANSACTION_RATE = environment.decimal("TRANSACTION_RATE", "20", minimum=0, maximum=10_000)
SIMULATOR_SEED = environment.whole_number("SIMULATOR_SEED", 42)

# --- Apps ------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    # Not "unfold": its default configuration would put its own site in place of the workspace's.
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.inlines",
    "fraudsite.admin_config.WorkspaceAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    # Ahead of Django's own, so that `runserver` serves static files as production does.
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "axes",
    "django_prometheus",
    "fraudsite",
    "ingestion",
    "rules",
    "screening",
    "reporting",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "fraudsite.logging.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "fraudsite.security.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Those of fraudsite.browsers are the usual ones, past which a request with an API key goes.
    "fraudsite.browsers.CorsMiddleware",
    "fraudsite.browsers.SessionMiddleware",
    "fraudsite.api.slashes.SlashMiddleware",
    "fraudsite.browsers.CsrfViewMiddleware",
    "fraudsite.browsers.AuthenticationMiddleware",
    "fraudsite.browsers.SessionsEndMiddleware",
    "fraudsite.browsers.OTPMiddleware",
    "fraudsite.acting.ActingMiddleware",
    "fraudsite.browsers.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    # By name: axes' own check looks for it, and it does nothing on the way in.
    "axes.middleware.AxesMiddleware",
    "fraudsite.request_metrics.RequestMetricsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Ahead of the apps, so that a template here replaces one of unfold.
        "DIRS": [BASE_DIR / "fraudsite" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# Staff must log in with a second factor (an authenticator app); compose turns it on.
REQUIRE_TWO_FACTOR = environment.boolean("REQUIRE_TWO_FACTOR", False)
OTP_TOTP_ISSUER = "Fraudsite"
# Five wrong passwords or codes for a name from an address lock that pair out.
AXES_FAILURE_LIMIT = 5
# PCI DSS 8.3.4: at least 30 minutes, unless a person lets them in again.
AXES_COOLOFF_TIME = timedelta(minutes=30)
# Who goes on trying neither keeps somebody out for longer nor fills the audit trail.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_CLIENT_IP_CALLABLE = "fraudsite.client_address.client_address"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "workspace/locked.html"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

LANGUAGE_CODE = "en-gb"
FORMAT_MODULE_PATH = ["fraudsite.formats"]
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- PostgreSQL ------------------------------------------------------------------------------------------------
DATABASES = {
    "default": environment.database("DATABASE_URL")
    | {
        # A connection lives as long as its thread. The check saves the first request of every thread after
        # PostgreSQL was restarted (fraudsite/postgresql).
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
}
_PROCESS = environment.text("FRAUDSITE_PROCESS", "fraudsite")
# A payment does not wait for a statement that hangs: it is refused, its count taken back. Together with the greatest
# age of a count that is still stored (screening/storing.py) this stays below the age at which reconciliation takes a
# count back. Batches, reports and commands may take longer. 0: no limit.
STATEMENT_TIMEOUT_MS = environment.whole_number(
    "STATEMENT_TIMEOUT_MS", 8_000 if _PROCESS in ("web", "worker-realtime") else 0, minimum=0, maximum=9_000
)
# A PostgreSQL that hangs does not give its statements up: we do, a second later (fraudsite/postgresql/deadlines.py).
# A machine that vanished is noticed by TCP, within half a minute; sockets have no use for that.
_TCP_OPTIONS = {
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
DATABASES["default"]["OPTIONS"] = (
    {"connect_timeout": 3, "application_name": _PROCESS} | _TCP_OPTIONS | DATABASES["default"]["OPTIONS"]
)
if STATEMENT_TIMEOUT_MS:
    # Behind those of DATABASE_URL.
    DATABASES["default"]["OPTIONS"]["options"] = environment.server_options(
        DATABASES["default"]["OPTIONS"].get("options", ""), statement_timeout=STATEMENT_TIMEOUT_MS
    )

# --- Redis: database 0 holds velocity and caches, database 1 Celery's queues ----------------------------------------
REDIS_URL = environment.redis_url("REDIS_URL")
# Some nodes of a Redis Cluster, comma-separated: velocity is kept there, and the rest in REDIS_URL's server.
REDIS_CLUSTER_URLS = environment.redis_urls("REDIS_CLUSTER_URLS")
REDIS_SOCKET_TIMEOUT_S = 2.0
REDIS_CONNECT_TIMEOUT_S = 1.0
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "fraudsite:cache",
        # 1 was pickled.
        "VERSION": 2,
        "OPTIONS": {
            "serializer": "fraudsite.cached_texts.TextSerializer",
            "socket_timeout": REDIS_SOCKET_TIMEOUT_S,
            "socket_connect_timeout": REDIS_CONNECT_TIMEOUT_S,
        },
    }
}

# --- Imports: uploads wait here; web and workers on several machines need a folder they share -----------------------
IMPORT_DIR = Path(environment.text("IMPORT_DIR", str(FRAUDSITE_HOME / "uploads"))).absolute()
IMPORT_MAX_BYTES = environment.whole_number("IMPORT_MAX_BYTES", 2 * 1024**3, minimum=1024)

# --- Kafka -----------------------------------------------------------------------------------------------------
KAFKA_BROKERS = environment.words("KAFKA_BROKERS")
KAFKA_GROUP = environment.text("KAFKA_GROUP", "fraudsite")
# Options of librdkafka, e.g. security.protocol=SASL_SSL,sasl.mechanism=PLAIN,sasl.username=…,sasl.password=…
KAFKA_OPTIONS = {
    name.strip(): value.strip()
    for name, _, value in (option.partition("=") for option in environment.words("KAFKA_OPTIONS"))
}

# --- Celery ----------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = environment.celery_url("CELERY_BROKER_URL", environment.broker_url(REDIS_URL, 1))
# A task that outlives the visibility timeout is delivered a second time, so tasks are chunks well below it;
# it is also how long the task of a machine that vanished waits for its second try.
CELERY_VISIBILITY_TIMEOUT_S = 600
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": CELERY_VISIBILITY_TIMEOUT_S,
    "socket_timeout": 5,
    "socket_connect_timeout": 1,
    "queue_order_strategy": "priority",
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A Redis that is full or has become a replica refuses: workers wait for it as for one that is away, and do not end.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_QUEUES: dict[str, dict[str, object]] = {"realtime": {}, "batch": {}, "default": {}}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = CELERY_VISIBILITY_TIMEOUT_S - 30
CELERY_TASK_SOFT_TIME_LIMIT = CELERY_VISIBILITY_TIMEOUT_S - 60
# The API must not hang while the broker is away: it stores, and the sweep enqueues later.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
# Which queue a task goes to, by its name; the first pattern that fits. Long work (`batch`) never stands before a
# payment (`realtime`), nor either before what follows from decisions and what looks after the rest (`default`).
CELERY_TASK_ROUTES = {
    "screening.velocity_fill": {"queue": "batch"},
    # Looks after batches, and must not wait for one.
    "screening.batch_sweep": {"queue": "default"},
    "screening.batch*": {"queue": "batch"},
    "screening.backtest*": {"queue": "batch"},
    "screening.import*": {"queue": "batch"},
    "screening.webhooks_*": {"queue": "default"},
    "screening.outbox_*": {"queue": "default"},
    "screening.pending_sweep": {"queue": "default"},
    "screening.velocity_reconcile": {"queue": "default"},
    "screening.*": {"queue": "realtime"},
    "reporting.*": {"queue": "batch"},
}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
# What waited longer is thrown away unread: a worker that comes back, or that is long at one task, does not first do all
# the sweeps of the meantime. (`expires` is Celery's name for it, which this scheduler drops without a word.) Clocks of
# machines may differ by seconds.
CELERY_BEAT_SCHEDULE: dict[str, dict[str, object]] = {
    name: {"task": task, "schedule": timedelta(seconds=every_s), "options": {"expire_seconds": expire_s}}
    for name, task, every_s, expire_s in (
        ("rollups", "reporting.rollups", 30, 30),
        ("reports-catch-up", "reporting.catch_up", 600, 600),
        ("batch-sweep", "screening.batch_sweep", 15, 15),
        ("pending-sweep", "screening.pending_sweep", 10, 10),
        ("velocity-reconcile", "screening.velocity_reconcile", 15, 15),
        ("velocity-fill", "screening.velocity_fill", 5, 10),
        ("events-sweep", "screening.events_sweep", 5, 10),
        ("outbox-work", "screening.outbox_work", 2, 10),
        ("webhooks-send", "screening.webhooks_send", 5, 10),
        ("imports-sweep", "screening.imports_sweep", 15, 15),
        ("imports-purge", "screening.imports_purge", 6 * 3600, 3600),
        ("webhooks-purge", "screening.webhooks_purge", 3600, 3600),
        ("sessions-purge", "fraudsite.sessions_purge", 6 * 3600, 3600),
        ("answers-purge", "fraudsite.answers_purge", 3600, 3600),
        ("record-views-purge", "fraudsite.record_views_purge", 6 * 3600, 3600),
        ("outbox-purge", "screening.outbox_purge", 3600, 3600),
    )
}

# --- The HTTP API ----------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["fraudsite.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["fraudsite.api.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["fraudsite.api.renderers.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["fraudsite.api.parsers.JsonParser"],
    "DEFAULT_PAGINATION_CLASS": "fraudsite.api.pagination.PagePagination",
    "DEFAULT_FILTER_BACKENDS": [
        "fraudsite.api.serializers.StrictFilterBackend",
        "fraudsite.api.serializers.StrictOrderingFilter",
    ],
    "DEFAULT_SCHEMA_CLASS": "fraudsite.api.schema.ApiSchema",
    "EXCEPTION_HANDLER": "fraudsite.api.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Fraudsite",
    "DESCRIPTION": "Screens transactions for fraud, in real time and over history.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    # Choices stay where they are used: naming them as shared components only makes names collide.
    "POSTPROCESSING_HOOKS": [],
    # The documentation works without the internet: everything it loads is served from here.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
}
# Requests a second, 0 for no limit: 429 with Retry-After beyond.
API_RATE_PER_CLIENT = environment.whole_number("API_RATE_PER_CLIENT", 2000, minimum=0)
# Transactions stored by `?mode=async` or bulk and not decided yet; beyond, more are refused until workers caught up.
MAX_PENDING_TRANSACTIONS = environment.whole_number("MAX_PENDING_TRANSACTIONS", 200_000, minimum=1)
API_RATE_GLOBAL = environment.whole_number("API_RATE_GLOBAL", 5000, minimum=0)
CORS_ALLOWED_ORIGINS = environment.words("CORS_ALLOWED_ORIGINS")
CORS_URLS_REGEX = r"^/api/.*$"
# Limits before any parser runs; the API's parsers refuse larger bodies with a problem document.
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- Browsers --------------------------------------------------------------------------------------------------
IS_BEHIND_TLS = environment.boolean("BEHIND_TLS", False)
# Proxies one behind the other that each add to X-Forwarded-For; 0: nobody's word for who asks is taken.
TRUSTED_PROXIES = environment.whole_number("TRUSTED_PROXIES", 0, minimum=0, maximum=10)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_BEHIND_TLS
SESSION_COOKIE_AGE = int(timedelta(hours=12).total_seconds())
# A session ends this long after its last request by a person, and at the latest SESSION_COOKIE_AGE after its login.
SESSION_IDLE_MINUTES = environment.whole_number("SESSION_IDLE_MINUTES", 60, minimum=1, maximum=720)
# Cookies ignore ports: two copies on one machine must not log each other out.
SESSION_COOKIE_NAME = f"fraudsite_session_{PORT}"
CSRF_COOKIE_NAME = f"fraudsite_csrf_{PORT}"
CSRF_TRUSTED_ORIGINS = environment.words(
    "CSRF_TRUSTED_ORIGINS",
    form=r"https?://[^/]+",
    meaning="origins with their scheme and without a path, like https://fraud.example.com",
)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_BEHIND_TLS else None
SECURE_HSTS_SECONDS = 31_536_000 if IS_BEHIND_TLS else 0
SILENCED_SYSTEM_CHECKS = [
    # Of `check --deploy`: ours is a subclass of CsrfViewMiddleware (fraudsite/browsers.py).
    "security.W003",
    # Whether other hosts of the domain speak TLS is not ours to say; whoever ends it redirects to it.
    "security.W005",
    "security.W008",
    "security.W021",
]

LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

STATIC_URL = "static/"
STATIC_ROOT = FRAUDSITE_HOME / "static"

UNFOLD = {
    "SITE_TITLE": "Fraudsite",
    "SITE_HEADER": "Fraudsite",
    "SITE_SYMBOL": "shield",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("fraudsite/favicon.svg")}
    ],
    "STYLES": [lambda request: static("fraudsite/workspace.css")],
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
}

# --- Mail: scheduled reports -------------------------------------------------------------------------------------
REPORT_RECIPIENTS = environment.words("REPORT_RECIPIENTS")
EMAIL_HOST = environment.text("EMAIL_HOST", "")
EMAIL_PORT = environment.whole_number("EMAIL_PORT", 587, minimum=1, maximum=65535)
EMAIL_HOST_USER = environment.text("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = environment.text("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = environment.boolean("EMAIL_USE_TLS", True)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = environment.text("DEFAULT_FROM_EMAIL", "fraudsite@localhost")
# Without a mail server mails are written to files, where they can be looked at.
EMAIL_BACKEND = (
    "django.core.mail.backends.smtp.EmailBackend"
    if EMAIL_HOST
    else "django.core.mail.backends.filebased.EmailBackend"
)
EMAIL_FILE_PATH = FRAUDSITE_HOME / "mail"

# --- Metrics and logs ------------------------------------------------------------------------------------------
# Exporting the migrations' state would query the database while every process starts; /health/ready tells it.
PROMETHEUS_EXPORT_MIGRATIONS = False
PROMETHEUS_METRIC_NAMESPACE = "fraudsite"
LOG_LEVEL = environment.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING = logging.configuration(level=LOG_LEVEL)
