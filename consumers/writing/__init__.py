"""From decoded events to committed rows: two sessions in turn, and what happens to a batch that fails."""
