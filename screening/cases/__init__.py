"""Cases: investigations that group the alerts about one account or user."""
