from django.apps import AppConfig


class RunnersConfig(AppConfig):
    name = "runners"

    def ready(self) -> None:
        from runners import checks as checks
        from runners import events
        from runners import metrics as metrics

        events.register_types()
