"""The MinionS protocol: planning, prompts, findings, aggregation. Pure."""
