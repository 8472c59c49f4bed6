"""Tell the live views that something changed."""


def stream_grew(sequence: int) -> None:
    """Tell every web process that the event stream reaches `sequence` now."""
