"""How an emulated instance becomes a node. One interface, several backends."""
