"""What is written to and read from the tables by id; every function takes the caller's session."""
