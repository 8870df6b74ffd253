"""Provider plugins that stand in for the official ones where those cannot be had (see `servicer`)."""
