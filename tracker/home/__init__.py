"""The folder of a stack: whose it is, and files in it that nobody else can write."""
