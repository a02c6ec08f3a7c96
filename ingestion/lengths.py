"""How long what comes in may be, for payloads and tables alike."""

ID_LENGTH = 128
LABEL_LENGTH = 40
AMOUNT_DECIMALS = 4
