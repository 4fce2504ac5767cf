"""Model checkpoints: read, validated and hashed without torch; converting GGUF needs torch."""
