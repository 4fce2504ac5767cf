"""Settings from the environment, read once by an entry point."""
