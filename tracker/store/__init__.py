"""Reads and writes the tables; every function takes the caller's session."""
