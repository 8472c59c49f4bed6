"""A small event loop: descriptors, timers by name, signals. asyncio would double the shim's memory."""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Loop:
    """Calls back when descriptors are ready and when timers are due, in one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self._signals: dict[int, Callable[[], None]] = {}
        self._stopped = False

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` whenever `fd` is ready; a second call changes the first."""
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, callback)
        else:
            self._selector.register(fd, events, callback)

    def forget(self, fd: int) -> None:
        """Stop watching `fd`; to be called before it is closed."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(fd)

    def after(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        """Call back once after `seconds`; a timer of the same name is replaced."""
        self._timers[name] = (time.monotonic() + seconds, callback)

    def cancel(self, name: str) -> None:
        """Forget the timer, if it is there."""
        self._timers.pop(name, None)

    def has_timer(self, name: str) -> bool:
        """Say whether a timer of this name waits."""
        return name in self._timers

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Call back from the loop, not from the handler, after the signal came (several may count as one)."""
        if not self._signals:
            self._open_wakeup()
        self._signals[number] = callback
        signal.signal(number, lambda *_: None)

    def _open_wakeup(self) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self.watch(reader, READ, lambda _: self._dispatch_signals(reader))

    def _dispatch_signals(self, reader: int) -> None:
        for number in set(os.read(reader, 4096)):
            if callback := self._signals.get(number):
                callback()

    def stop(self) -> None:
        """Return from `run` after the callbacks of this round."""
        self._stopped = True

    def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopped:
            for key, events in self._selector.select(self._patience()):
                # An earlier callback of this round may have forgotten this one.
                if self._selector.get_map().get(key.fd) is key:
                    key.data(events)
            self._fire()

    def _patience(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, min(due for due, _ in self._timers.values()) - time.monotonic())

    def _fire(self) -> None:
        now = time.monotonic()
        for name, (due, callback) in list(self._timers.items()):
            if due <= now and self._timers.get(name) == (due, callback):
                del self._timers[name]
                callback()
