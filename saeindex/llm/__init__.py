"""One client of OpenAI-compatible services: budget, cache, replies, prompts."""
