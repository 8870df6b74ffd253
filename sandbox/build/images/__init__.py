"""Container images of real nodes: packed from our own builds, served by a registry on loopback."""
