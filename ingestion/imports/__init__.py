"""Files of transactions: what they look like, how their columns become fields, how far an import is."""
