"""What changes over an ordered field."""
