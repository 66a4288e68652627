"""First-pass perfusion: from slices over time to blood flow in the AHA's segments."""
