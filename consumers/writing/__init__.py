"""From decoded events to committed rows: two sessions in turn, and the handling of batches that fail."""
