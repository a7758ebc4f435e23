"""The section of a run's report on held-out data: errors by dimension and horizon, and films of predicted actions."""
