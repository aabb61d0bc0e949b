"""An index as it is read: sample, statistics, records, rows, snapshots, counts, caches."""
