"""A worker: it claims parts, runs their analysis, and finishes runs."""
