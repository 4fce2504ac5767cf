"""Headbook's migrations, of schemas `headbook` and `results`; applied by `headbook db upgrade`."""
