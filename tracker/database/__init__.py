"""Postgres: connections and transactions, roles and rights, the schema's version."""
