"""The tables of a rebuild: they are created, tracked, swapped with the live ones, and compared with them."""
