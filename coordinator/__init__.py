"""The side that asks: documents in, subtasks to the nodes, findings back, one request to the supervisor."""
