"""Django settings. Every choice comes from the environment (environment.py); docs/settings.md lists the variables."""

from pathlib import Path

from stratavore_site import environment

BASE_DIR = environment.BASE_DIR
VERSION = "0.1.0"

DEBUG = environment.boolean("DEBUG", False)
SECRET_KEY = environment.secret("SECRET_KEY", development=DEBUG)
#: They sign the audit log, the first one what is new: {id: key}. A key that has signed must stay, to verify.
AUDIT_KEYS = environment.keys("AUDIT_KEYS", development=DEBUG)
ALLOWED_HOSTS = environment.names("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = environment.names("CSRF_TRUSTED_ORIGINS", [])

# --- Servers -----------------------------------------------------------------------------------------------------

DATABASES = {
    "default": environment.database(
        environment.url(
            "DATABASE_URL",
            ("postgres", "postgresql"),
            because="it is where every record lives; `make up` brings a PostgreSQL",
        ),
        pool_size=environment.integer("DATABASE_POOL_SIZE", 16, minimum=2),
    )
}
#: The statements that every change runs are prepared once a connection: a fifth of their time.
DATABASE_PREPARED_STATEMENTS = environment.boolean("DATABASE_PREPARED_STATEMENTS", True)
#: Valkey or Redis: the channel layer, and Celery's broker where there is no RabbitMQ.
REDIS_URL = environment.url(
    "REDIS_URL", ("redis", "rediss", "unix"), because="it carries live updates; `make up` brings a Valkey"
)
#: RabbitMQ. Empty in embedded mode: then REDIS_URL serves as the broker and there is no topic exchange for integrators.
AMQP_URL = environment.url("AMQP_URL", ("amqp", "amqps"), default="")

# --- This node ---------------------------------------------------------------------------------------------------

STATE_DIR = Path(environment.env.str("STRATAVORE_STATE_DIR", str(BASE_DIR / ".stratavore")))
#: Run directories of the runners on this node; short, because a unix socket's path holds 107 bytes.
RUNS_DIR = Path(environment.env.str("STRATAVORE_RUNS_DIR", str(STATE_DIR / "runs")))
#: Worktrees of isolated runners; apart from the projects, whose directories stay clean.
WORKTREES_DIR = Path(environment.env.str("STRATAVORE_WORKTREES_DIR", str(STATE_DIR / "worktrees")))
NODE_NAME = environment.env.str("STRATAVORE_NODE", environment.hostname())
NODE_SLOTS = environment.integer("STRATAVORE_NODE_SLOTS", 32, minimum=1)
NODE_LABELS = environment.names("STRATAVORE_NODE_LABELS", [])
#: cgroup v2: the group below which runners get theirs, `none`, or empty: the one that systemd delegated, if it did.
CONTROL_GROUP = environment.control_group("STRATAVORE_CONTROL_GROUP")
#: Whether agent programs that ask are told that a project's directory may be trusted: see docs/backends.md.
TRUST_WORKSPACES = environment.boolean("STRATAVORE_TRUST_WORKSPACES", True)
#: A project's directory must lie below one of these.
WORKSPACE_ROOTS = environment.directories("STRATAVORE_WORKSPACE_ROOTS", [STATE_DIR / "workspaces"])

# --- Applications ------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "daphne",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "pgtrigger",
    "pghistory",
    "channels",
    "rest_framework",
    "django_filters",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "django_prometheus",
    "django_structlog",
    "outbox",
    "runners",
    "agents",
    "dashboard",
    "stratavore_site",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "stratavore_site.origin.OriginMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "stratavore_site.urls"
ASGI_APPLICATION = "stratavore_site.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "dashboard:login"
LOGIN_REDIRECT_URL = "dashboard:overview"
LOGOUT_REDIRECT_URL = "dashboard:login"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = "stratavore_site.formats"

STATIC_URL = "static/"
STATIC_ROOT = STATE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Without DEBUG whitenoise serves from STATIC_ROOT; `collectstatic` is part of the image and of `make up`.
WHITENOISE_USE_FINDERS = True

# --- Security ----------------------------------------------------------------------------------------------------

#: True behind TLS (docker-compose.yml and deploy/ set it): cookies over HTTPS only, HSTS, redirects.
HTTPS = environment.boolean("STRATAVORE_HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
#: Fernet keys for secrets in the database: the first encrypts, all decrypt. Empty: one made of SECRET_KEY.
ENCRYPTION_KEYS = environment.names("STRATAVORE_ENCRYPTION_KEYS", [])
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- API ---------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "stratavore_site.authentication.AccessTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["stratavore_site.parsers.LimitedJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "stratavore_site.api.PagePagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "stratavore_site.api.problem_response",
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Stratavore",
    "DESCRIPTION": "Launch, watch and steer fleets of AI coding agents.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "stratavore_site.schema.add_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "RunnerStatus": "runners.states.RunnerStatus",
        "NodeStatus": "runners.states.NodeStatus",
        "ProjectStatus": "runners.states.ProjectStatus",
        "OperationStatus": "runners.states.OperationStatus",
        "ItemResult": "runners.states.ItemResult",
        "WorktreeEnd": "runners.states.WorktreeEnd",
        "SearchMode": "runners.states.SearchMode",
        "CostSource": "runners.states.CostSource",
        "BudgetScope": "runners.states.BudgetScope",
        "BudgetAction": "runners.states.BudgetAction",
        "RuleScope": "runners.states.RuleScope",
        "RuleEffect": "runners.states.RuleEffect",
        "AnswerScope": "runners.states.AnswerScope",
        "Severity": "outbox.states.Severity",
        "NotificationStatus": "outbox.states.NotificationStatus",
        "AgentStatus": "agents.states.AgentStatus",
        "JobStatus": "agents.states.JobStatus",
        "JobDecision": "agents.states.Decision",
        "Priority": "agents.states.Priority",
        "Outcome": "agents.states.Outcome",
        "TodoStatus": "agents.states.TodoStatus",
        "TimeStatus": "agents.states.TimeStatus",
        "WebhookDeliveryStatus": "outbox.states.DeliveryStatus",
    },
}
REST_KNOX = {"TOKEN_TTL": None, "AUTH_HEADER_PREFIX": "Token"}
KNOX_TOKEN_MODEL = "stratavore_site.AccessToken"  # noqa: S105 - the name of a model
# knox's migrations make its own table even where another model stands in for it, and a flush stumbles over that.
MIGRATION_MODULES = {"knox": None}

# --- Outbox ------------------------------------------------------------------------------------------------------

#: Rows with the same lane are relayed one batch at a time, in order. More lanes, more relays at once.
OUTBOX_LANES = 16
OUTBOX_EXCHANGE = "stratavore.events"
#: Entries in one batch: what a killed relay may send twice. 500 go out at 6,000 a second, 50 at 4,000.
OUTBOX_BATCH = 500
#: A larger event is not sent: RabbitMQ 4 refuses messages over 16 MiB, and closes the channel.
OUTBOX_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
#: For so long a reader may be away and still catch up by `sequence`.
OUTBOX_RETENTION_DAYS = environment.integer("OUTBOX_RETENTION_DAYS", 30, minimum=1)
#: Open streams (GET /api/v1/events/stream) of one user at one web process.
EVENT_STREAMS_PER_USER = environment.integer("EVENT_STREAMS_PER_USER", 10, minimum=1)
#: Called with each delivered event, in this order, at least once: {event type pattern: [dotted paths]}.
OUTBOX_HANDLERS: dict[str, list[str]] = {
    # A runner that was paused takes its agent along.
    "runner.paused": ["agents.handlers.on_runner_steered"],
    "runner.resumed": ["agents.handlers.on_runner_steered"],
}
#: Called with all events of a batch at once, for what a query for each event would make slow.
OUTBOX_BATCH_HANDLERS = [
    # A runner that ended lands the job of its agent.
    "agents.handlers.on_runners_ended",
    "outbox.services.hand_on.hand_on",
]
#: Told after a batch that the stream has grown; best effort, for live views.
OUTBOX_LISTENERS = ["dashboard.push.stream_grew"]

# --- Webhooks ----------------------------------------------------------------------------------------------------

#: Networks that webhooks may reach although they are not public: ["10.0.0.0/8"].
WEBHOOK_ALLOWED_NETWORKS = environment.networks("WEBHOOK_ALLOWED_NETWORKS")
#: Plain http:// addresses; what is sent can then be read on its way.
WEBHOOK_ALLOW_HTTP = environment.boolean("WEBHOOK_ALLOW_HTTP", False)
#: Requests to one receiver at once.
WEBHOOK_CONCURRENCY = environment.integer("WEBHOOK_CONCURRENCY", 4, minimum=1)
#: For so long a delivery is tried again.
WEBHOOK_RETRY_HOURS = environment.integer("WEBHOOK_RETRY_HOURS", 24, minimum=1)
#: A webhook that did nothing but fail for so long is switched off.
WEBHOOK_DISABLE_AFTER_DAYS = environment.integer("WEBHOOK_DISABLE_AFTER_DAYS", 5, minimum=1)
#: After a change of the secret both are used for so long.
WEBHOOK_ROTATION_HOURS = environment.integer("WEBHOOK_ROTATION_HOURS", 24, minimum=0)
#: The log of deliveries.
WEBHOOK_RETENTION_DAYS = environment.integer("WEBHOOK_RETENTION_DAYS", 30, minimum=1)

# --- Runners -----------------------------------------------------------------------------------------------------

#: How long what the reconciler found is kept.
RECONCILER_FINDINGS_DAYS = environment.integer("RECONCILER_FINDINGS_DAYS", 30, minimum=1)
#: Backend name to the class that drives the program. STRATAVORE_BACKENDS adds yours.
RUNNER_BACKENDS = {
    "command": "runners.backends.command.CommandBackend",
    "demo": "runners.backends.demo.DemoBackend",
    "claude_code": "runners.backends.claude_code.ClaudeCodeBackend",
    "claude_terminal": "runners.backends.claude_terminal.ClaudeTerminalBackend",
    "codex": "runners.backends.codex.CodexBackend",
    "opencode": "runners.backends.opencode.OpenCodeBackend",
    "gemini": "runners.backends.gemini.GeminiBackend",
    **environment.classes("STRATAVORE_BACKENDS"),
}
#: After so long a silence the runners of a node are started elsewhere, where their restart policy asks for it. A node
#: agent that is restarted, or whose machine is, should be back before.
NODE_LOST_AFTER_SECONDS = environment.integer("NODE_LOST_AFTER_SECONDS", 300, minimum=30)
#: Told once a second by each node agent what it measured; best effort, for live views.
RUNNER_LISTENERS = ["dashboard.push.observed"]
RUNNER_RUNTIMES = {
    "process": "runners.runtimes.process.ProcessRuntime",
    "container": "runners.runtimes.container.ContainerRuntime",
}
#: The engine's unix socket, `none`, or empty: where Podman and Docker usually listen.
CONTAINER_ENGINE = environment.engine_socket("STRATAVORE_CONTAINER_ENGINE") or environment.docker_host("DOCKER_HOST")
#: Patterns of the images that may be run; without one the container runtime is refused.
CONTAINER_IMAGES = environment.names("STRATAVORE_CONTAINER_IMAGES", [])
#: Networks that may be asked for besides `none`.
CONTAINER_NETWORKS = environment.names("STRATAVORE_CONTAINER_NETWORKS", [])
#: What each container may have at most; 0: no bound. No agent needs 4,096 processes, and a fork bomb stops there.
CONTAINER_MEMORY_MB = environment.integer("STRATAVORE_CONTAINER_MEMORY_MB", 0)
CONTAINER_PROCESSES = environment.integer("STRATAVORE_CONTAINER_PROCESSES", 4096)
#: Users (uid or uid:gid) that may be asked for besides the workspace's owner.
CONTAINER_USERS = environment.names("STRATAVORE_CONTAINER_USERS", [])

# --- Search ------------------------------------------------------------------------------------------------------

#: Embedder name to its class. STRATAVORE_EMBEDDERS adds yours.
EMBEDDERS = {
    "local": "runners.embedders.local.LocalEmbedder",
    "openai": "runners.embedders.openai.OpenAIEmbedder",
    **environment.classes("STRATAVORE_EMBEDDERS"),
}
#: The one that makes new vectors, or "none": then search is by words alone.
EMBEDDER = environment.one_of("STRATAVORE_EMBEDDER", (*EMBEDDERS, "none"), "local")
#: Of `openai`: the address before /embeddings, the model's name there, and a key where one is asked for.
EMBEDDING_URL = environment.url(
    "STRATAVORE_EMBEDDING_URL",
    ("http", "https"),
    default=None if EMBEDDER == "openai" else "",
    because="the embedder openai asks there, as in http://127.0.0.1:11434/v1",
)
EMBEDDING_MODEL = (
    environment.required("STRATAVORE_EMBEDDING_MODEL", because="the embedder openai asks for a model by its name")
    if EMBEDDER == "openai"
    else environment.env.str("STRATAVORE_EMBEDDING_MODEL", "")
)
EMBEDDING_KEY = environment.env.str("STRATAVORE_EMBEDDING_KEY", "")
#: Asked of a model that can shorten its vectors; 0: they have the length that the model gives them.
EMBEDDING_DIMENSION = environment.integer("STRATAVORE_EMBEDDING_DIMENSION", 0)
#: Cosine, in percent, from which two texts have to do with each other in that model's eyes.
EMBEDDING_FLOOR_PERCENT = environment.integer("STRATAVORE_EMBEDDING_FLOOR_PERCENT", 30)

# --- Transcripts -------------------------------------------------------------------------------------------------

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "transcripts": environment.transcript_storage(
        "TRANSCRIPT_STORAGE",
        STATE_DIR / "transcripts",
        endpoint=environment.url("TRANSCRIPT_STORAGE_ENDPOINT", ("http", "https"), default=""),
        region=environment.env.str("TRANSCRIPT_STORAGE_REGION", ""),
    ),
}
#: A part is stored when there is so much of it, or when so much time has passed since the last one.
TRANSCRIPT_PART_KB = environment.integer("TRANSCRIPT_PART_KB", 1024, minimum=64)
TRANSCRIPT_PART_SECONDS = environment.integer("TRANSCRIPT_PART_SECONDS", 30, minimum=1)

#: A run directory stays so long after its attempt ended, and until all of it is in the database and in storage.
RUN_DIRECTORY_DAYS = environment.integer("STRATAVORE_RUN_DIRECTORY_DAYS", 7)

# --- Celery ------------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = AMQP_URL or REDIS_URL

# --- Channels ----------------------------------------------------------------------------------------------------

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "stratavore"},
    }
}

# --- Logs --------------------------------------------------------------------------------------------------------

LOG_FORMAT = environment.one_of("LOG_FORMAT", ("json", "console"), "console" if DEBUG else "json")
LOG_LEVEL = environment.one_of("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
LOGGING_CONFIG = "stratavore_site.logs.configure"
LOGGING = {"format": LOG_FORMAT, "level": LOG_LEVEL}

UNFOLD = {
    "SITE_TITLE": "Stratavore",
    "SITE_HEADER": "Stratavore",
    "SITE_SUBHEADER": "Control plane for agent fleets",
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SITE_SYMBOL": "hub",
    "BORDER_RADIUS": "6px",
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": "stratavore_site.admin_navigation.navigation",
    },
}
