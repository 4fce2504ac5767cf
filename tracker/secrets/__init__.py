"""Passwords and tokens: redacted from URLs, log records and messages."""
