"""A service that takes orders, and tells of them."""

import os

from lakegate import Client


class Orders:
    """Orders of one restaurant. Events go to LAKEGATE_URL with LAKEGATE_KEY."""

    def __init__(self, restaurant: str, events: "Client | None" = None) -> None:
        self.restaurant = restaurant
        self.events = events or Client(os.environ["LAKEGATE_URL"], os.environ["LAKEGATE_KEY"])

    def order(self, dish: str, price_minor: int, visit: str) -> None:
        """Takes an order: a dish, its price in cents, and the guest's visit."""
        self.events.track(
            "menu:item:ordered", session_id=visit, visit_id=visit, restaurant_id=self.restaurant, menu_id="dinner", section_id="mains",
            section_index=0, item_id=dish, item_index=0, price_minor=price_minor, currency="EUR", action="order",
        )

    def close(self) -> None:
        """Sends what is left."""
        self.events.close()
