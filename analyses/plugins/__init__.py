"""Packages of others that bring analyses: found, tried, and kept from disturbing what is ours."""
