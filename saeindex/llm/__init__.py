"""A client of OpenAI-compatible chat services: budget, cache, replies and prompts."""
