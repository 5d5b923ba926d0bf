"""Our own programs that publish events for other systems. They use the SDK like any other program."""
