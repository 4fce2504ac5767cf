"""What happens inside a language model: found by tracing, recorded, and added up again."""
