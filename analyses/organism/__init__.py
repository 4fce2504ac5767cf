"""The model that Headbook trains itself: small, shipped, and made for its own prompts."""
