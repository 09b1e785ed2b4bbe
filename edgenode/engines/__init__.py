"""Engines: what runs a model on a node. One interface, one adapter for OpenAI-compatible servers, a launcher for each child
process, and a deterministic engine for tests."""
