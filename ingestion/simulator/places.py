"""Where the simulated customers live and where their cards turn up: cities with coordinates and address
blocks."""

from __future__ import annotations

from functools import cache
from math import asin, cos, radians, sin, sqrt
from typing import NamedTuple

EARTH_RADIUS_KM = 6371.0088

# Legitimate customers keep well inside the 1,000 km of the impossible-trip pattern; thieves go well beyond
# it.
NEAR_KM = 900.0
FAR_KM = 1100.0

_NIGERIAN_BLOCKS = ("197.210", "105.112", "102.89", "105.113", "102.88")


class City(NamedTuple):
    name: str
    country: str
    latitude: float
    longitude: float
    share: int
    ip_blocks: tuple[str, ...]
    """`share` weighs where customers live; an IP block is the first two octets of addresses routed there."""


CITIES: tuple[City, ...] = (
    City("Lagos", "NG", 6.5244, 3.3792, 34, _NIGERIAN_BLOCKS),
    City("Abuja", "NG", 9.0765, 7.3986, 14, _NIGERIAN_BLOCKS),
    City("Kano", "NG", 12.0022, 8.5920, 9, _NIGERIAN_BLOCKS),
    City("Ibadan", "NG", 7.3775, 3.9470, 8, _NIGERIAN_BLOCKS),
    City("Port Harcourt", "NG", 4.8156, 7.0498, 8, _NIGERIAN_BLOCKS),
    City("Benin City", "NG", 6.3350, 5.6037, 5, _NIGERIAN_BLOCKS),
    City("Kaduna", "NG", 10.5105, 7.4165, 4, _NIGERIAN_BLOCKS),
    City("Enugu", "NG", 6.4584, 7.5464, 4, _NIGERIAN_BLOCKS),
    City("Jos", "NG", 9.8965, 8.8583, 3, _NIGERIAN_BLOCKS),
    City("Ilorin", "NG", 8.4966, 4.5421, 3, _NIGERIAN_BLOCKS),
    City("Maiduguri", "NG", 11.8311, 13.1510, 2, _NIGERIAN_BLOCKS),
    City("Sokoto", "NG", 13.0059, 5.2476, 2, _NIGERIAN_BLOCKS),
    City("London", "GB", 51.5074, -0.1278, 2, ("86.128",)),
    City("Houston", "US", 29.7604, -95.3698, 1, ("73.1",)),
    City("Paris", "FR", 48.8566, 2.3522, 1, ("90.10",)),
    City("Accra", "GH", 5.6037, -0.1870, 0, ("154.160",)),
    City("Johannesburg", "ZA", -26.2041, 28.0473, 0, ("41.13",)),
    City("Dubai", "AE", 25.2048, 55.2708, 0, ("94.200",)),
    City("Nairobi", "KE", -1.2921, 36.8219, 0, ("105.160",)),
    City("Istanbul", "TR", 41.0082, 28.9784, 0, ("78.160",)),
    City("Guangzhou", "CN", 23.1291, 113.2644, 0, ("114.80",)),
    City("Toronto", "CA", 43.6532, -79.3832, 0, ("99.224",)),
)


def distance_km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great-circle distance between two points in degrees."""
    phi, other_phi = radians(latitude), radians(other_latitude)
    half_phi = sin((other_phi - phi) / 2)
    half_lambda = sin(radians(other_longitude - longitude) / 2)
    return 2 * EARTH_RADIUS_KM * asin(sqrt(half_phi**2 + cos(phi) * cos(other_phi) * half_lambda**2))


@cache
def city_distance_km(one: int, other: int) -> float:
    """Between the centres of two cities, by their places in CITIES."""
    a, b = CITIES[one], CITIES[other]
    return distance_km(a.latitude, a.longitude, b.latitude, b.longitude)


@cache
def cities_within(city: int, limit_km: float) -> tuple[int, ...]:
    """The other cities at most `limit_km` away."""
    return tuple(i for i in range(len(CITIES)) if i != city and city_distance_km(city, i) <= limit_km)


@cache
def cities_beyond(city: int, limit_km: float) -> tuple[int, ...]:
    """The cities at least `limit_km` away."""
    return tuple(i for i in range(len(CITIES)) if city_distance_km(city, i) >= limit_km)
