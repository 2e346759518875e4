"""Self-contained HTML pages: what a parser finds, how a run went, and how runs compare."""
