"""Analyses from other packages: discovered, tried in a subprocess, and run in isolation."""
