#!/usr/bin/env python
"""Django's command line: `manage.py up`, `manage.py nodeagent`, `manage.py migrate` and the rest."""

import os
import sys


def main() -> "int | str":
    # No syntax newer than Python 3.5 in this file: an older Python must get as far as the sentence.
    if sys.version_info < (3, 11):  # noqa: UP036
        return "Stratavore needs Python 3.11 or newer, this is {}.{}.".format(*sys.version_info[:2])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stratavore_site.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
    except ModuleNotFoundError:
        return "Django is not installed in " + sys.executable + ": use .venv/bin/python, which `make up` makes."
    if sys.argv[1:2] == ["up"]:
        from stratavore_site.up.command import main as up

        return up(sys.argv[2:])
    from django.conf import settings
    from django.core.management import execute_from_command_line

    from outbox.origin import come_from_command_line

    try:
        if sys.argv[1:2] not in ([], ["help"], ["--help"], ["version"], ["--version"]):
            settings.INSTALLED_APPS  # noqa: B018 - Django itself reads them late, and some commands not at all
            if sys.argv[1] != "nodeagent":
                come_from_command_line()
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as problem:
        return str(problem)
    return 0


if __name__ == "__main__":
    sys.exit(main())
