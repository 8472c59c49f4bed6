"""Run a command with a PostgreSQL and a Valkey of its own, empty at its start and gone at its end.

python -m stratavore_site.embedded manage.py makemigrations --check
"""

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from stratavore_site.embedded.errors import CannotStart
from stratavore_site.embedded.postgres import Postgres
from stratavore_site.embedded.valkey import Valkey


def main(words: list[str]) -> int | str:
    """Run Python with `words`; return its exit code, or a sentence if the servers do not start."""
    with tempfile.TemporaryDirectory(prefix="sv-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)  # root's servers are not root, and have to pass through
        postgres, valkey = (kind(directory / kind.__name__.lower(), throwaway=True) for kind in (Postgres, Valkey))
        try:
            env = environment(directory, postgres.start(), valkey.start())
            return subprocess.run([sys.executable, *words], env=env, check=False).returncode
        except CannotStart as sentence:
            return str(sentence)
        finally:
            valkey.stop(immediately=True)
            postgres.stop(immediately=True)


def environment(directory: Path, database_url: str, redis_url: str) -> dict[str, str]:
    """Return our environment with settings that know these servers and no others."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STRATAVORE_")}
    inherited.pop("AMQP_URL", None)
    return {
        **inherited,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "AUDIT_KEYS": f"throwaway:{secrets.token_urlsafe(50)}",
        "STRATAVORE_ENV_FILE": os.devnull,
        "STRATAVORE_STATE_DIR": str(directory),
        "STRATAVORE_RUNS_DIR": str(directory / "runs"),
        "STRATAVORE_WORKSPACE_ROOTS": str(directory / "workspaces"),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
