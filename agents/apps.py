from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"

    def ready(self) -> None:
        from agents import events
        from agents.services import batch_verbs
        from runners.services import operations

        events.register_types()
        operations.register(*batch_verbs.VERBS)
