"""Account risk: what the signals that hold at a moment add up to."""
