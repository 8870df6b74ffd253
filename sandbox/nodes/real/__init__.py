"""Real nodes: an emulated instance is a set of namespaces that boots by running its own user data."""
