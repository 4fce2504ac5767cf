"""Headbook's tracker: what was asked, who works on it, and every number that came out."""
