"""The built-in analyses, one per file; every file can be imported without torch."""
