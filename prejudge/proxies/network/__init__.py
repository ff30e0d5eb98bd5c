"""A network as the passes see it: its prunable layers and batch norms, its graph, and several networks run as one."""
