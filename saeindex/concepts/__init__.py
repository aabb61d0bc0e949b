"""From a phrase or a description to features, weights and scores."""
