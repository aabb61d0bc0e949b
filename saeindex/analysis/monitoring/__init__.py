"""Alerts: windows of records against a reference or a saved baseline."""
