"""The routes: each finds its index through the caller's access, and answers on a thread."""
