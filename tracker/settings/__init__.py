"""What the environment says, read once by an entry point."""
