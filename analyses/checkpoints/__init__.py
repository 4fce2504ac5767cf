"""Language models as files: read, checked and hashed without torch, converted with it."""
