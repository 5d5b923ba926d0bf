"""What tests and bench share: services started as processes, databases of one's own, workloads, topics."""
