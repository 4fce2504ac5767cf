"""The folder of a stack: its ownership, and its files, which only their owner can write."""
