"""Headbook's app: pages to queue runs and to inspect their results. No torch, no SQL."""
