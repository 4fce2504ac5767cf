"""Analyses of language models: pure, without database, queue, tracking server or pages."""
