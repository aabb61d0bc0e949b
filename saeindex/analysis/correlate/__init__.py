"""Which concepts go together, and what in prompts triggers a behaviour of responses."""
