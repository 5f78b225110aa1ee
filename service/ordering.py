"""From `order_by` as JSON to the order that the store knows."""

from index_store.json_path import parse_path
from index_store.payload_values import Order, order_value
from service.errors import MalformedRequest
from service.schemas.points import OrderBy


def order_of(one: OrderBy) -> Order:
    """Raises InvalidPath, and MalformedRequest where `start_from` is neither a number nor a date."""
    start = order_value(one.start_from)
    if one.start_from is not None and start is None:
        raise MalformedRequest(f"'order_by.start_from' is a number or a date, not {one.start_from!r}.")
    return Order(parse_path(one.key), one.direction == "desc", start)
