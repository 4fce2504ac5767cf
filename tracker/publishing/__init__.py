"""Copies of results in MLflow, and the spool that tensors wait in until they are there."""
