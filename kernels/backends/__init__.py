"""The backends: one folder each, all with the functions that ``contract`` names."""
