"""Reading of an index: sample, statistics, records, rows, snapshots, counts and caches."""
