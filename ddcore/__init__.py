"""ddcore: dataset distillation as short compositions."""
