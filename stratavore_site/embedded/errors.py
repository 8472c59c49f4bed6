"""What can go wrong before there is a server, told as one sentence."""


class CannotStart(Exception):
    """A sentence for the person at the terminal: what is wrong, and what to do about it."""
