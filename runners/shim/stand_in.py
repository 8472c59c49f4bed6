"""An agent whose processes are elsewhere: the shim's child only stands for it, and passes on what it is told.

In a container the agent is the engine's child, not the shim's. What the shim runs then is an attachment (attach.py):
streams and signals go through it, and it writes an account of how the container ended.
"""

import signal

from runners.shim import rundir

#: SIGKILL would end the stand-in and not what it stands for: it gets this instead, kills, and tells how it ended.
KILL = signal.SIGRTMIN
#: An engine that does not answer holds the stand-in up; after this long it gets the real SIGKILL.
PATIENCE_SECONDS = 5.0


def account(run_dir: str) -> dict[str, object] | None:
    """Return what the stand-in told of the end: code, signal and reason; None if it could not."""
    told = rundir.read_json(run_dir, rundir.ACCOUNT)
    return {"code": told.get("code"), "signal": None, "reason": told.get("reason") or "exited"} if told else None


def tell_account(run_dir: str, code: int | None, reason: str) -> None:
    """Write the account, durably: once the container is removed nobody else knows."""
    rundir.write_json(run_dir, rundir.ACCOUNT, {"code": code, "reason": reason})
    rundir.sync_directory(run_dir)
