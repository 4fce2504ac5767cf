"""Headbook's migrations of the schemas `headbook` and `results`, for `headbook db upgrade`."""
