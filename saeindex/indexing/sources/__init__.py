"""Where records come from: files, folders, data sets and Python iterables, all opened by ``open_source``."""
