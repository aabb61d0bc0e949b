"""Results as pictures: one self-contained HTML file, or PNG."""

from saeindex.analysis.pictures.saving import pictures_of, save_picture

__all__ = ["pictures_of", "save_picture"]
