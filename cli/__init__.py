"""The `jobtrail` command: one module a group of commands; what they print is made in `cli/render/`."""
