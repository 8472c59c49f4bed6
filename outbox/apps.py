from django.apps import AppConfig


class OutboxConfig(AppConfig):
    name = "outbox"
    verbose_name = "Outbox"

    def ready(self) -> None:
        from outbox import checks as checks
        from outbox import metrics as metrics
        from outbox.services.alert import register_alert
        from outbox.webhooks import types

        types.register_types()
        register_alert()
