"""One page for an ablation: the configs, learning curves and scores of several runs beside one another."""
