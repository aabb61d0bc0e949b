"""A result as a description, rendered as text, HTML, notebook, charts and files."""
