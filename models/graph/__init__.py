"""Networks on graphs: for nodes, for whole graphs, for links and for knowledge graphs."""
