"""Tests, laid out like the package; ``samples`` holds what several of them use."""
