"""`make soak`: random sequences of changes and accidents on one sandbox, for minutes or hours."""
