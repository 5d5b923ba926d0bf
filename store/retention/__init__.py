"""What is older than the horizon goes: the horizon advances, then days of attempts with their part of the sums, then jobs."""
