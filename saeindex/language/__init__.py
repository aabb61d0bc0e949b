"""The where and steer languages: grammar, AST, parser, suggestions, filters and texts."""
