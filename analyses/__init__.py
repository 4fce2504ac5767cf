"""Headbook's analyses of models: pure, without database, queue, tracking server or pages."""
