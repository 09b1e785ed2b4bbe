"""Where work goes. Pure: events and the time come in, decisions come out."""
