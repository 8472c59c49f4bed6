from django.apps import AppConfig


class StratavoreSiteConfig(AppConfig):
    name = "stratavore_site"
    verbose_name = "Stratavore"

    def ready(self) -> None:
        from stratavore_site import health as health  # a worker's heartbeat is noted by a signal handler in there
        from stratavore_site import sign_ins as sign_ins
