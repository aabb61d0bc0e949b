"""What is distinctive of a set of records."""
