"""Turns requests into runs: plans them, records them, and wakes workers up."""
