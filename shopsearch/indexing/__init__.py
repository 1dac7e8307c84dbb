"""Make the vector store hold what the shop shows: changes, batches, rebuilds, reconciling."""
