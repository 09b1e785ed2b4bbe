"""The `edgenode` command's own commands, a module for each subject: its options and what it does."""
