"""Model files on this device: reading their headers, keeping and fetching them."""
