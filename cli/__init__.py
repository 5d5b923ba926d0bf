"""The `jobtrail` command: one module per group of commands. `cli/render/` formats what they print."""
