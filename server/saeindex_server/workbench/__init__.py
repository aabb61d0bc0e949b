"""The workbench: pages in a browser that search, steer and explain an index, beside the routes."""
