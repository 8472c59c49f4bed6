"""Wait for /health/ready, and say what it waits for."""

import http.client
import json
import time
from collections.abc import Callable

from stratavore_site.embedded.errors import CannotStart

#: From a cold cache on two busy cores the slowest start seen took 12 s.
DEADLINE_SECONDS = 90.0
#: After which the waiting is explained.
QUIET_SECONDS = 10.0


def health(host: str, port: int) -> dict[str, str]:
    """Return the parts that are not ready, with what is wrong with each; nothing when all are."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", "/health/ready", headers={"Host": "localhost"})
        response = connection.getresponse()
        body = response.read()
        if response.status == 200:
            return {}
        return {name: part for name, part in json.loads(body)["parts"].items() if part != "ok"}
    except (OSError, http.client.HTTPException, ValueError, KeyError) as reason:
        return {"web": f"it does not answer yet ({type(reason).__name__})"}
    finally:
        connection.close()


def wait(host: str, port: int, *, look_after: Callable[[float], None], say: Callable[[str], None]) -> None:
    """Wait until every part is ready, looking after the children meanwhile. Raises CannotStart."""
    begun = time.monotonic()
    said: dict[str, str] = {}
    while missing := health(host, port):
        waited = time.monotonic() - begun
        if waited > DEADLINE_SECONDS:
            raise CannotStart(
                "It does not get ready: " + "; ".join(f"{name}: {what}" for name, what in missing.items())
            )
        if waited > QUIET_SECONDS and missing.keys() != said.keys():
            say("Still waiting for " + "; ".join(f"{name}: {what}" for name, what in missing.items()))
            said = missing
        look_after(0.1)
