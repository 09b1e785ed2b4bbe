"""Why two machines do not see each other: facts are gathered by probes, a pure diagnosis makes sentences of them."""
