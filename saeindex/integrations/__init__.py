"""Adapters: an index inside LangChain, LlamaIndex and Haystack, and as tools over MCP."""
