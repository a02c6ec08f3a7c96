"""What was committed and still has to have its consequences: cases and webhook deliveries."""
