"""Who is connected with whom: accounts, and the devices, addresses and counterparties they share."""
