from django.apps import AppConfig


class RunnersConfig(AppConfig):
    name = "runners"

    def ready(self) -> None:
        from runners import approval_events, budget_events, events, limit_events
        from runners import checks as checks
        from runners import metrics as metrics
        from runners.services import operations, runner_verbs

        events.register_types()
        budget_events.register_types()
        approval_events.register_types()
        limit_events.register_types()
        operations.register(*runner_verbs.VERBS)
