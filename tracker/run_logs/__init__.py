"""The log of a run: what is logged and printed while workers execute it."""
