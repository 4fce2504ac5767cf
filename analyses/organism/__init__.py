"""Training of `mcq-small`, the small model that Headbook ships."""
