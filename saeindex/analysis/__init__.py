"""Statistics over an index: what differs, what goes together, what clusters, what drifts."""
