"""Images in and out: `Volume`, the short-axis stack, reading, writing and resampling."""
