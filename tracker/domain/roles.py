"""The roles of the database."""

from enum import StrEnum


class Role(StrEnum):
    """A role of the database; migrations say what it may do."""

    WORKER = "headbook_worker"  # works, queues and cancels
    READER = "headbook_reader"  # reads the views of schema results
