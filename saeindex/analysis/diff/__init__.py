"""What differs between groups of records."""
