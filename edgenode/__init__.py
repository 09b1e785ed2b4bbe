"""edgenode: the device's side, and what both sides share. Importing it loads no engine, no numpy and no openai."""

__version__ = "0.1.0"
