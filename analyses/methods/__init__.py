"""One registered analysis per file; every file can be imported without torch."""
