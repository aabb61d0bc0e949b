"""Where and steer as languages: grammar, AST, parser, suggestions, filters, texts."""
