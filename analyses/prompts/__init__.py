"""Prompts: the questions, their wording and their tokens. Does not import torch."""
