"""Ready-made indexes for existing shop packages."""
