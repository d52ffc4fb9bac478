"""Components built from kinds."""
