"""Label images beside an image: their metadata, their list, and writing them."""
