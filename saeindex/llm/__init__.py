"""A client of OpenAI-compatible chat services: cache, cap on tokens, prompts and strict replies."""
