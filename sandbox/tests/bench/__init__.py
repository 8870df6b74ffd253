"""`make bench`: how fast the product is, on the commands that people type."""
