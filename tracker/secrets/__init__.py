"""Passwords and tokens: taken out of addresses, records and messages."""
