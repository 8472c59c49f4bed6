from django.apps import AppConfig


class StratavoreSiteConfig(AppConfig):
    name = "stratavore_site"
    verbose_name = "Stratavore"
