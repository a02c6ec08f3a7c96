"""Great-circle distance, one computation for every evaluator."""

from __future__ import annotations

from decimal import Decimal
from math import asin, cos, radians, sin, sqrt

from rules.core.values import Event, plain

EARTH_RADIUS_KM = 6_371.0088  # mean radius, IUGG


def coordinates(event: Event) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees; None when either is missing or no number."""
    latitude, longitude = plain(event.get("latitude")), plain(event.get("longitude"))
    if isinstance(latitude, Decimal) and isinstance(longitude, Decimal):
        return float(latitude), float(longitude)
    return None


def distance_km(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Haversine distance between two (latitude, longitude) in degrees."""
    latitude_1, longitude_1 = map(radians, start)
    latitude_2, longitude_2 = map(radians, end)
    half_chord = (
        sin((latitude_2 - latitude_1) / 2) ** 2
        + cos(latitude_1) * cos(latitude_2) * sin((longitude_2 - longitude_1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(half_chord)))


def to_decimal(value: float) -> Decimal:
    """A float as a Decimal of 12 significant digits."""
    return Decimal(f"{value:.11e}")


def distance_between(start: Event, end: Event) -> Decimal | None:
    """Kilometres between two events, 12 significant digits; None when one has no coordinates."""
    from_, to = coordinates(start), coordinates(end)
    if from_ is None or to is None:
        return None
    return to_decimal(distance_km(from_, to))
