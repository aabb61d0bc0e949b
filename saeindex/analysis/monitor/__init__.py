"""Alerts on change against a reference or a saved baseline."""
