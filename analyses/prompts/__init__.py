"""Prompts: what is asked, in which words, and as which tokens. Free of torch."""
