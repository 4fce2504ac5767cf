"""What the tracker refuses; each refusal is a class beside what raises it."""


class TrackerError(Exception):
    """Something a person can put right; the command line prints the message and exits with 1."""
