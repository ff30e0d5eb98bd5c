"""DARTS-PT: operations of a trained supernet are chosen by what their removal costs."""
