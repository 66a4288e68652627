"""The training loop and what surrounds it. It knows no hearts."""
