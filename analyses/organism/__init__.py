"""The model Headbook trains itself: small, shipped, and made for its own multiple-choice prompts."""
