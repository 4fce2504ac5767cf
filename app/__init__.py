"""Headbook's app: pages to queue runs and to look at what they found. No torch, no SQL."""
