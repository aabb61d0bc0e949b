"""What can be asked of an index: each operation is a request, its result, and a function over a state."""
