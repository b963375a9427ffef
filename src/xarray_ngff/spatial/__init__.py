"""Images cut and reduced in space."""
