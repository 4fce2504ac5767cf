"""Copies of results in MLflow, and the spool that holds tensor files until MLflow has them."""
