"""Everything that comes in beside transactions: logins, card events, outside alerts, KYC profiles and labels."""
