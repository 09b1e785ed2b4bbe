"""Everything that can leave the house is in this folder."""
