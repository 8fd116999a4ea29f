"""The worker pools: who does the work. ``softman`` never imports this package; work travels by task name."""
