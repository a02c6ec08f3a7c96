"""Times as the whole workspace writes them: to the second, by the 24-hour clock, in UTC, which they say."""

DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = "j M Y H:i:s e"
SHORT_DATE_FORMAT = "j M Y"
SHORT_DATETIME_FORMAT = "j M Y H:i e"
