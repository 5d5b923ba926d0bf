"""The tables of a rebuild: their state, how they are made, compared with the live ones and swapped with them."""
