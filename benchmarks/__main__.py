"""Run one part and print its table and its JSON line. Servers and settings: `python -m stratavore_site.embedded`."""

import importlib
import json
import os
import pkgutil
import platform
import sys
from typing import Any

import django
import psutil

import benchmarks

Figures = dict[str, float]


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "memory_mb": psutil.virtual_memory().total // 1_000_000,
        "load_before": round(os.getloadavg()[0], 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def table(title: str, rows: Figures) -> str:
    """Return rows of name and number, aligned."""
    width = max(map(len, rows))
    return "\n".join([title, *(f"  {name:<{width}}  {value:>12,.2f}" for name, value in rows.items())])


def main(part: str) -> int:
    """Measure one part."""
    parts = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")]
    if part not in parts:
        sys.stderr.write(f"There is no part {part!r}: choose one of {', '.join(parts)}.\n")
        return 1
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stratavore_site.settings")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    django.setup()
    module = importlib.import_module(f"benchmarks.{part}")
    where = machine()
    limits: Figures = module.limits()
    figures: Figures = module.figures()
    print(table(f"{part}: raw limits of this machine", limits))
    print(table(f"{part}: figures", figures))
    print(json.dumps({"part": part, "machine": where, "limits": limits, "figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "launch"))
