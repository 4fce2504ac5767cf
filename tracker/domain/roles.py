"""The roles of the database."""

from enum import StrEnum


class Role(StrEnum):
    """A role of the database; the migrations grant its rights."""

    WORKER = "headbook_worker"  # queues, cancels and executes runs
    READER = "headbook_reader"  # reads the views of schema results
