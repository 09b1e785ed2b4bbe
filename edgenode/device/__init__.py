"""What this device has and how it fares, and when that makes it drain."""
