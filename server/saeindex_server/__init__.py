"""The HTTP server of saeindex: everything that the library does, over HTTP, for many callers at once."""
