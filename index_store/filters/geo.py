"""Conditions on places: objects {"lon", "lat"} in degrees, in a box, within a distance, inside a polygon."""

import itertools
import math
from dataclasses import dataclass
from typing import Any, TypeGuard

from index_store.errors import InvalidFilter
from index_store.filters.keys import Key
from index_store.filters.point import Point
from index_store.filters.refusals import a_number, an_object, kind, only

EARTH_RADIUS_M = 6_371_008.8  # the mean radius (IUGG)
LEAST_RING = 4
MOST_DEGREES = 1e9


@dataclass(frozen=True)
class Place:
    """Degrees."""

    lon: float
    lat: float


Ring = tuple[Place, ...]


@dataclass(frozen=True)
class Box:
    """Some place lies inside, its edge left out; a box whose left is east of its right crosses the 180th meridian."""

    key: Key
    top_left: Place
    bottom_right: Place

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return any(self.holds(place) for place in places(self.key.values(point.payload)))

    def holds(self, place: Place) -> bool:
        """Whether a place is inside."""
        west, east = self.top_left.lon, self.bottom_right.lon
        is_between = west < place.lon < east if west <= east else place.lon > west or place.lon < east
        return is_between and self.bottom_right.lat < place.lat < self.top_left.lat


@dataclass(frozen=True)
class Circle:
    """Some place is nearer to the centre than the radius."""

    key: Key
    centre: Place
    radius_m: float

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return any(self.holds(place) for place in places(self.key.values(point.payload)))

    def holds(self, place: Place) -> bool:
        """Whether a place is inside."""
        return distance_m(place, self.centre) < self.radius_m


@dataclass(frozen=True)
class Polygon:
    """Some place lies inside the outer ring and in none of the inner ones; their edges belong to neither."""

    key: Key
    outer: Ring
    inner: tuple[Ring, ...] = ()

    def matches(self, point: Point) -> bool:
        """Whether a point does."""
        return any(self.holds(place) for place in places(self.key.values(point.payload)))

    def holds(self, place: Place) -> bool:
        """Whether a place is inside."""
        if _is_on(place, self.outer) or not _is_inside(place, self.outer):
            return False
        return not any(_is_on(place, ring) or _is_inside(place, ring) for ring in self.inner)


GeoCondition = Box | Circle | Polygon


def places(values: list[Any]) -> list[Place]:
    """The values that are places."""
    found = (_place(value) for value in values)
    return [place for place in found if place is not None]


def distance_m(one: Place, other: Place) -> float:
    """Metres along the surface of a sphere (the haversine formula)."""
    lat, other_lat = math.radians(one.lat), math.radians(other.lat)
    across = math.sin((other_lat - lat) / 2) ** 2
    along = math.cos(lat) * math.cos(other_lat) * math.sin(math.radians(other.lon - one.lon) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, across + along)))


def parse_geo(key: Key, name: str, value: Any) -> GeoCondition:
    """One of the three conditions by its name in the grammar."""
    where = f"'{name}' on '{key.text}'"
    given = an_object(value, where)
    if name == "geo_bounding_box":
        only(given, where, ("top_left", "bottom_right"))
        corners = [_corner(given.get(corner), f"'{name}.{corner}'") for corner in ("top_left", "bottom_right")]
        return Box(key, *corners)
    if name == "geo_radius":
        only(given, where, ("center", "radius"))
        radius = a_number(given.get("radius"), f"'{name}.radius'", 0, 1e9)
        return Circle(key, _corner(given.get("center"), f"'{name}.center'"), radius)
    only(given, where, ("exterior", "interiors"))
    inner = given.get("interiors", [])
    if not isinstance(inner, list):
        raise InvalidFilter(f"'{name}.interiors' takes a list, not {kind(inner)}.")
    rings = [_ring(one, f"'{name}.interiors'") for one in inner]
    return Polygon(key, _ring(given.get("exterior"), f"'{name}.exterior'"), tuple(rings))


def _place(value: Any) -> Place | None:
    if not isinstance(value, dict):
        return None
    lon, lat = value.get("lon"), value.get("lat")
    return Place(float(lon), float(lat)) if _is_coordinate(lon) and _is_coordinate(lat) else None


def _is_coordinate(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MOST_DEGREES


def _corner(value: Any, where: str) -> Place:
    given = an_object(value, where)
    only(given, where, ("lon", "lat"))
    return Place(
        a_number(given.get("lon"), f"{where}.lon", -180, 180), a_number(given.get("lat"), f"{where}.lat", -90, 90)
    )


def _ring(value: Any, where: str) -> Ring:
    given = an_object(value, where)
    only(given, where, ("points",))
    points = given.get("points")
    if not isinstance(points, list):
        raise InvalidFilter(f"{where}.points takes a list, not {kind(points)}.")
    ring = tuple(_corner(point, f"{where}.points") for point in points)
    if len(ring) < LEAST_RING or ring[0] != ring[-1]:
        raise InvalidFilter(f"{where}.points are at least {LEAST_RING} places, the last the same as the first.")
    return ring


def _edges(ring: Ring) -> list[tuple[Place, Place]]:
    return list(itertools.pairwise(ring))


def _is_on(place: Place, ring: Ring) -> bool:
    """Whether a place lies on an edge: in line with its ends, and between them."""
    for a, b in _edges(ring):
        is_in_line = (b.lon - a.lon) * (place.lat - a.lat) == (b.lat - a.lat) * (place.lon - a.lon)
        is_between = (a.lon - place.lon) * (b.lon - place.lon) <= 0 and (a.lat - place.lat) * (b.lat - place.lat) <= 0
        if is_in_line and is_between:
            return True
    return False


def _is_inside(place: Place, ring: Ring) -> bool:
    """Whether a line from the place to the east meets the ring an odd number of times."""
    inside = False
    for a, b in _edges(ring):
        if (a.lat > place.lat) != (b.lat > place.lat):
            crossing = a.lon + (b.lon - a.lon) * (place.lat - a.lat) / (b.lat - a.lat)
            if place.lon < crossing:
                inside = not inside
    return inside
