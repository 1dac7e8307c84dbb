"""Ready-made indexes for other people's shops."""
