"""Sources of records: files, folders, data sets and Python iterables, all opened by ``open_source``."""
