"""The events of a service, asked of `lakegate dev`."""

import uuid

import pytest
from lakegate import Client
from orders import Orders


@pytest.fixture
def orders(lakegate_rig):
    orders = Orders("tasca-do-lago", Client(lakegate_rig.url, "dev"))
    yield orders
    orders.close()


def test_an_order_is_told_with_its_dish_and_its_price(orders, lakegate_rig):
    orders.order("bacalhau-a-bras", 1450, str(uuid.uuid4()))
    (order,) = lakegate_rig.expect("menu:item:ordered", count=1, where={"item_id": "bacalhau-a-bras", "price_minor": 1450})
    assert (order["restaurant_id"], order["currency"]) == ("tasca-do-lago", "EUR")
    lakegate_rig.never("*", status="rejected")


def test_an_order_outlives_an_outage_of_the_gateway_and_is_told_once(orders, lakegate_rig):
    lakegate_rig.fault(status=503, for_ms=1500, retry_after=1)
    orders.order("bacalhau-a-bras", 1450, str(uuid.uuid4()))
    lakegate_rig.expect("menu:item:ordered", count=1, timeout=20)
