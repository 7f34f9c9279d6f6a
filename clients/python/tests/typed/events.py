"""The fields of every event. Written by `lakegate schemas export --format python`; do not edit."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Dict, List, Literal, Mapping, Optional, TypedDict, Union, overload

from lakegate import Client

if TYPE_CHECKING:
    from typing_extensions import NotRequired, Unpack
elif sys.version_info >= (3, 11):
    from typing import NotRequired, Unpack


class AccountCreatedV1Consent(TypedDict):
    """What the person agreed to."""

    terms_version: str
    """Which text of the terms, such as 2026-09."""

    accepted_at: str
    """When they were accepted, RFC 3339 with offset."""

    marketing: NotRequired[bool]
    """Whether the person wants news by mail."""


class AccountCreatedV1(TypedDict):
    """Someone opened an account. Counts sign-ups by day, country, plan and way of signing up. The person's address is never sent, only a keyed hash of it to join by.

    Version 1 of `account:created`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: NotRequired[Literal[1]]
    """The version that the event is written by."""

    account_id: str
    """The new account."""

    email_sha256: str
    """HMAC-SHA-256 of the lower-case e-mail address under the company's own key, in hexadecimal: joins systems without telling the address."""

    signup_method: Literal["password", "passkey", "google", "apple", "sso", "invitation"]
    """How the person signed up."""

    invited_by_account_id: NotRequired[str]
    """The account that sent the invitation, if there was one."""

    country: NotRequired[str]
    """Country of the account, ISO 3166-1 alpha-2, such as PT."""

    locale: NotRequired[str]
    """Language the person chose, as a BCP 47 tag, such as pt-PT."""

    plan: NotRequired[Literal["free", "trial", "paid"]]
    """What was bought with the account."""

    referrer: NotRequired[str]
    """The page of ours that led to the sign-up, without query and fragment."""

    consent: AccountCreatedV1Consent
    """What the person agreed to."""


class ClientEventsDroppedV1(TypedDict):
    """A client library could not keep some of its events, and says how many and why, so that a report knows what it lacks. The counts are those since the last such event of the same client; add them up.

    Version 1 of `client:events:dropped`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: NotRequired[Literal[1]]
    """The version that the event is written by."""

    client: Literal["browser", "node"]
    """Which library says so."""

    queue_full: NotRequired[int]
    """Events that were not taken because as many as the client may keep were waiting."""

    too_old: NotRequired[int]
    """Events that could not be sent until they were older than the client keeps them."""

    too_large: NotRequired[int]
    """Events of more bytes than one request may have."""

    refused: NotRequired[int]
    """Events of requests that were refused as a whole with a status that no repetition mends, such as 401."""

    invalid: NotRequired[int]
    """Events whose fields JSON cannot say, such as a BigInt or an object that holds itself."""


class LessonStartedV1Content(TypedDict):
    """What the lesson consists of."""

    kind: Literal["video", "text", "quiz", "live"]
    """What the student does in it."""

    duration_ms: NotRequired[int]
    """Length of a video or a live lesson, in milliseconds."""

    question_count: NotRequired[int]
    """Number of questions in a quiz."""

    uri: NotRequired[str]
    """Where the content is."""


class LessonStartedV1(TypedDict):
    """A student began a lesson. With the lessons that are finished it tells which lessons lose people, and how many start after the due date.

    Version 1 of `lesson:started`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: NotRequired[Literal[1]]
    """The version that the event is written by."""

    lesson_id: str
    """Which lesson."""

    course_id: str
    """Which course the lesson belongs to."""

    student_id: str
    """Random UUID of the student, meaningless outside the learning system."""

    lesson_index: NotRequired[int]
    """Position of the lesson in the course, from 0."""

    attempt_number: int
    """1 the first time the student starts this lesson, 2 the second time, and so on."""

    device: NotRequired[Literal["phone", "tablet", "desktop", "tv", "other"]]
    """What the student learns on."""

    locale: NotRequired[str]
    """Language the lesson is shown in, as a BCP 47 tag, such as pt-PT."""

    due_at: NotRequired[Union[str, None]]
    """When the lesson should be done, RFC 3339 with offset; null when it has no due date."""

    content: NotRequired[LessonStartedV1Content]
    """What the lesson consists of."""


class MenuItemOrderedV1(TypedDict):
    """The visitor ordered an item, or did another thing the menu offers for it (the action). Orders divided by views, per item, is the view-to-order conversion.

    Version 1 of `menu:item:ordered`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: NotRequired[Literal[1]]
    """The version that the event is written by."""

    session_id: str
    """Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab."""

    visit_id: str
    """Random UUID of one opening of one menu page; all menu events between opening and leaving carry it."""

    restaurant_id: str
    """Which restaurant the menu belongs to."""

    menu_id: str
    """Which of the restaurant's menus is shown, such as dinner."""

    page_path: NotRequired[str]
    """Path of the page, without query and fragment."""

    locale: NotRequired[str]
    """Language the menu is shown in, as a BCP 47 tag, such as pt-PT."""

    utc_offset_minutes: NotRequired[int]
    """The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner."""

    section_id: str
    """Which section of the menu, such as appetizers."""

    section_index: int
    """Position of the section on the menu, from 0 at the top."""

    section_name: NotRequired[str]
    """Heading of the section as the visitor reads it."""

    item_id: str
    """Which dish or drink. The same dish keeps its id in every language and on every menu."""

    item_index: int
    """Position of the item within its section, from 0 at the top."""

    item_name: NotRequired[str]
    """Name of the item as the visitor reads it."""

    price_minor: NotRequired[int]
    """Price on the menu, in the currency's smallest unit: 1450 is 14.50 EUR."""

    currency: NotRequired[str]
    """ISO 4217 code of the currency, such as EUR."""

    action: str
    """What was done, as the menu names it. Conversion counts order; add-to-cart, share and the like are kept beside it."""

    quantity: NotRequired[int]
    """How many of the item."""

    channel: NotRequired[Literal["dine_in", "takeaway", "delivery"]]
    """How the order reaches the guest."""

    active_ms: NotRequired[int]
    """Milliseconds of the visit so far in which the page was visible."""


class MenuItemViewedV1(TypedDict):
    """A dish or drink was really seen: half of it in view, or half of the screen filled with it, for one second without a break. The most viewed dishes are counted from this, and, with menu:item:ordered, how many views become orders.

    Version 1 of `menu:item:viewed`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: Literal[1]
    """The version that the event is written by."""

    session_id: str
    """Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab."""

    visit_id: str
    """Random UUID of one opening of one menu page; all menu events between opening and leaving carry it."""

    restaurant_id: str
    """Which restaurant the menu belongs to."""

    menu_id: str
    """Which of the restaurant's menus is shown, such as dinner."""

    page_path: NotRequired[str]
    """Path of the page, without query and fragment."""

    locale: NotRequired[str]
    """Language the menu is shown in, as a BCP 47 tag, such as pt-PT."""

    utc_offset_minutes: NotRequired[int]
    """The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner."""

    section_id: str
    """Which section of the menu, such as appetizers."""

    section_index: int
    """Position of the section on the menu, from 0 at the top."""

    section_name: NotRequired[str]
    """Heading of the section as the visitor reads it."""

    item_id: str
    """Which dish or drink. The same dish keeps its id in every language and on every menu."""

    item_index: int
    """Position of the item within its section, from 0 at the top."""

    item_name: NotRequired[str]
    """Name of the item as the visitor reads it."""

    price_minor: NotRequired[int]
    """Price on the menu, in the currency's smallest unit: 1450 is 14.50 EUR."""

    currency: NotRequired[str]
    """ISO 4217 code of the currency, such as EUR."""

    dwell_ms: NotRequired[int]
    """Milliseconds in which the item had been in view when this was sent, 1000 as a rule. The time in all is in menu:visit:progress."""

    depth_percent: NotRequired[int]
    """The furthest point of the page reached so far, in percent of its height; 100 is the end."""

    active_ms: NotRequired[int]
    """Milliseconds of the visit so far in which the page was visible."""


class MenuItemViewedV2(TypedDict):
    """A dish or drink was really seen: half of it in view, or half of the screen filled with it, for one second without a break. The most viewed dishes are counted from this, and, with menu:item:ordered, how many views become orders.

    Version 2 of `menu:item:viewed`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: NotRequired[Literal[2]]
    """The version that the event is written by."""

    session_id: str
    """Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab."""

    visit_id: str
    """Random UUID of one opening of one menu page; all menu events between opening and leaving carry it."""

    restaurant_id: str
    """Which restaurant the menu belongs to."""

    menu_id: str
    """Which of the restaurant's menus is shown, such as dinner."""

    page_path: NotRequired[str]
    """Path of the page, without query and fragment."""

    locale: NotRequired[str]
    """Language the menu is shown in, as a BCP 47 tag, such as pt-PT."""

    utc_offset_minutes: NotRequired[int]
    """The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner."""

    section_id: str
    """Which section of the menu, such as appetizers."""

    section_index: int
    """Position of the section on the menu, from 0 at the top."""

    section_name: NotRequired[str]
    """Heading of the section as the visitor reads it."""

    item_id: str
    """Which dish or drink. The same dish keeps its id in every language and on every menu."""

    item_index: int
    """Position of the item within its section, from 0 at the top."""

    item_name: NotRequired[str]
    """Name of the item as the visitor reads it."""

    price_minor: NotRequired[int]
    """Price on the menu, in the currency's smallest unit: 1450 is 14.50 EUR."""

    currency: NotRequired[str]
    """ISO 4217 code of the currency, such as EUR."""

    dwell_ms: NotRequired[int]
    """Milliseconds in which the item had been in view when this was sent, 1000 as a rule. The time in all is in menu:visit:progress."""

    depth_percent: NotRequired[int]
    """The furthest point of the page reached so far, in percent of its height; 100 is the end."""

    active_ms: NotRequired[int]
    """Milliseconds of the visit so far in which the page was visible."""

    view_number: NotRequired[int]
    """1 the first time this visit sees the item, 2 when it comes back to it, and so on."""

    has_photo: NotRequired[bool]
    """Whether the menu shows a picture of the item."""

    tags: NotRequired[List[str]]
    """The labels the menu puts on the item, such as vegetarian.

    At most 20 items.

    Items: One label.
    """


class MenuPageOpenedV1Viewport(TypedDict):
    """Size of the visible part of the page, in CSS pixels."""

    width_px: int
    """Width in CSS pixels; under 600 is a phone."""

    height_px: int
    """Height in CSS pixels."""


class MenuPageOpenedV1(TypedDict):
    """A visitor opened a menu page: the start of a visit. Counts visits by day and hour, by language, by device, and by where people come from.

    Version 1 of `menu:page:opened`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: NotRequired[Literal[1]]
    """The version that the event is written by."""

    session_id: str
    """Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab."""

    visit_id: str
    """Random UUID of one opening of one menu page; all menu events between opening and leaving carry it."""

    restaurant_id: str
    """Which restaurant the menu belongs to."""

    menu_id: str
    """Which of the restaurant's menus is shown, such as dinner."""

    page_path: str
    """Path of the page, without query and fragment."""

    locale: NotRequired[str]
    """Language the menu is shown in, as a BCP 47 tag, such as pt-PT."""

    utc_offset_minutes: NotRequired[int]
    """The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner."""

    viewport: MenuPageOpenedV1Viewport
    """Size of the visible part of the page, in CSS pixels."""

    device_pixel_ratio: NotRequired[float]
    """Screen pixels per CSS pixel."""

    navigation: NotRequired[Literal["navigate", "reload", "back_forward", "prerender"]]
    """How the page came up, as the browser tells it; back_forward is a return with the back button."""

    referrer: NotRequired[str]
    """Scheme and host of the page that linked here, such as https://www.google.com; never its path. Absent: opened directly."""

    entry: NotRequired[str]
    """The restaurant's own mark on the link that was followed, such as qr-table-7 or flyer."""

    section_count: NotRequired[int]
    """How many sections the menu has."""

    item_count: NotRequired[int]
    """How many items the menu has."""


class MenuSectionReachedV1(TypedDict):
    """A section of the menu came into view for the first time in a visit. Tells how far down people get, and what share stops after the appetizers.

    Version 1 of `menu:section:reached`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: NotRequired[Literal[1]]
    """The version that the event is written by."""

    session_id: str
    """Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab."""

    visit_id: str
    """Random UUID of one opening of one menu page; all menu events between opening and leaving carry it."""

    restaurant_id: str
    """Which restaurant the menu belongs to."""

    menu_id: str
    """Which of the restaurant's menus is shown, such as dinner."""

    page_path: NotRequired[str]
    """Path of the page, without query and fragment."""

    locale: NotRequired[str]
    """Language the menu is shown in, as a BCP 47 tag, such as pt-PT."""

    utc_offset_minutes: NotRequired[int]
    """The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner."""

    section_id: str
    """Which section of the menu, such as appetizers."""

    section_index: int
    """Position of the section on the menu, from 0 at the top."""

    section_name: NotRequired[str]
    """Heading of the section as the visitor reads it."""

    section_count: NotRequired[int]
    """How many sections the menu has."""

    depth_percent: NotRequired[int]
    """The furthest point of the page reached so far, in percent of its height; 100 is the end."""

    active_ms: NotRequired[int]
    """Milliseconds of the visit so far in which the page was visible."""


class MenuVisitProgressV1Items(TypedDict):
    """How long one item was in view during the visit."""

    item_id: str
    """Which dish or drink. The same dish keeps its id in every language and on every menu."""

    section_id: NotRequired[str]
    """Which section of the menu, such as appetizers."""

    dwell_ms: int
    """Milliseconds in which the item was in view, on a visible page."""

    view_count: NotRequired[int]
    """How many times the item counted as viewed (half in view for a second)."""


class MenuVisitProgressV1(TypedDict):
    """How a visit has gone so far, sent each time the page is hidden or left. Every report holds the totals since the opening, so that the one with the highest progress_index replaces those before it and a lost one does no harm. Gives time per dish, time per visit, and where people stop.

    Version 1 of `menu:visit:progress`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: NotRequired[Literal[1]]
    """The version that the event is written by."""

    session_id: str
    """Random UUID of one browser tab's session; joins the menu pages one visitor opens in a row. Never kept longer than the tab."""

    visit_id: str
    """Random UUID of one opening of one menu page; all menu events between opening and leaving carry it."""

    restaurant_id: str
    """Which restaurant the menu belongs to."""

    menu_id: str
    """Which of the restaurant's menus is shown, such as dinner."""

    page_path: NotRequired[str]
    """Path of the page, without query and fragment."""

    locale: NotRequired[str]
    """Language the menu is shown in, as a BCP 47 tag, such as pt-PT."""

    utc_offset_minutes: NotRequired[int]
    """The visitor's local time minus UTC, in minutes, so that reports can say lunch and dinner."""

    progress_index: int
    """Number of the report within the visit, from 0. The highest one counts; do not add them up."""

    reason: NotRequired[Literal["hidden", "pagehide", "interval"]]
    """Why the report was made: the tab was hidden, the page was left, or some time had passed."""

    active_ms: int
    """Milliseconds of the visit so far in which the page was visible."""

    depth_percent: int
    """The furthest point of the page reached so far, in percent of its height; 100 is the end."""

    deepest_section_id: NotRequired[str]
    """The furthest section reached. Absent: none was."""

    deepest_section_index: NotRequired[int]
    """Position of the furthest section reached, from 0 at the top."""

    section_count: NotRequired[int]
    """How many sections the menu has."""

    item_count: NotRequired[int]
    """How many items the menu has."""

    items: List[MenuVisitProgressV1Items]
    """The items that were in view, with the time each had in all; at most 500.

    At most 500 items.

    Items: How long one item was in view during the visit.
    """


class PaymentOrderCompletedV1Merchant(TypedDict):
    """Who sold."""

    merchant_id: str
    """The seller."""

    support_email: NotRequired[str]
    """The seller's own public address, as printed on the receipt; never the payer's."""


class PaymentOrderCompletedV1Lines(TypedDict):
    """One kind of thing that was bought."""

    item_id: str
    """What was bought; for a dish the same id as on the menu."""

    item_name: NotRequired[str]
    """Its name as printed on the receipt."""

    quantity: int
    """How many."""

    unit_price_minor: int
    """Price of one, in the currency's smallest unit."""

    discount_minor: NotRequired[int]
    """Taken off this line, in the currency's smallest unit."""

    total_minor: int
    """Price of the line after its discount, in the currency's smallest unit."""


class PaymentOrderCompletedV1Payment(TypedDict):
    """How it was paid."""

    method: Literal["card", "wallet", "bank_transfer", "direct_debit", "cash", "voucher"]
    """Way of paying."""

    provider: NotRequired[str]
    """Who processed the payment."""

    provider_reference: NotRequired[str]
    """The processor's own reference of the payment. Never a card number."""


class PaymentOrderCompletedV1(TypedDict):
    """An order was paid in full. Revenue by day, by item and by way of paying. Holds no card number and nothing about the payer beyond an account.

    Version 1 of `payment:order:completed`.
    """

    event_uuid: NotRequired[str]
    """A UUID of your own."""

    created_at: NotRequired[Union[float, str, datetime]]
    """When it happened, if not now."""

    schema_version: NotRequired[Literal[1]]
    """The version that the event is written by."""

    order_id: str
    """The order, as it stands on the receipt."""

    customer_id: NotRequired[str]
    """The account that paid. Absent: paid without an account."""

    merchant: PaymentOrderCompletedV1Merchant
    """Who sold."""

    restaurant_id: NotRequired[str]
    """The restaurant, for an order of food: joins the menu events."""

    visit_id: NotRequired[str]
    """The menu visit the order came from, if it came from one: joins the menu events."""

    currency: str
    """ISO 4217 code of the currency of all amounts, such as EUR."""

    lines: List[PaymentOrderCompletedV1Lines]
    """What was bought, one line each.

    At least 1 items.

    At most 500 items.

    Items: One kind of thing that was bought.
    """

    subtotal_minor: NotRequired[int]
    """Sum of the lines, in the currency's smallest unit."""

    discount_minor: NotRequired[int]
    """Taken off the whole order, in the currency's smallest unit."""

    tax_minor: NotRequired[int]
    """Tax contained in the total, in the currency's smallest unit."""

    tip_minor: NotRequired[int]
    """Tip, in the currency's smallest unit."""

    total_minor: int
    """What was paid, in the currency's smallest unit."""

    payment: PaymentOrderCompletedV1Payment
    """How it was paid."""


class Events:
    """`track` of a client, with the fields of every event checked: `Events(client).track(…)`."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @overload
    def track(self, event_name: Literal["account:created"], /, **fields: Unpack[AccountCreatedV1]) -> str: ...

    @overload
    def track(self, event_name: Literal["account:created"], fields: AccountCreatedV1, /) -> str: ...

    @overload
    def track(self, event_name: Literal["client:events:dropped"], /, **fields: Unpack[ClientEventsDroppedV1]) -> str: ...

    @overload
    def track(self, event_name: Literal["client:events:dropped"], fields: ClientEventsDroppedV1, /) -> str: ...

    @overload
    def track(self, event_name: Literal["lesson:started"], /, **fields: Unpack[LessonStartedV1]) -> str: ...

    @overload
    def track(self, event_name: Literal["lesson:started"], fields: LessonStartedV1, /) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:item:ordered"], /, **fields: Unpack[MenuItemOrderedV1]) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:item:ordered"], fields: MenuItemOrderedV1, /) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:item:viewed"], /, **fields: Unpack[MenuItemViewedV1]) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:item:viewed"], fields: MenuItemViewedV1, /) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:item:viewed"], /, **fields: Unpack[MenuItemViewedV2]) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:item:viewed"], fields: MenuItemViewedV2, /) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:page:opened"], /, **fields: Unpack[MenuPageOpenedV1]) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:page:opened"], fields: MenuPageOpenedV1, /) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:section:reached"], /, **fields: Unpack[MenuSectionReachedV1]) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:section:reached"], fields: MenuSectionReachedV1, /) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:visit:progress"], /, **fields: Unpack[MenuVisitProgressV1]) -> str: ...

    @overload
    def track(self, event_name: Literal["menu:visit:progress"], fields: MenuVisitProgressV1, /) -> str: ...

    @overload
    def track(self, event_name: Literal["payment:order:completed"], /, **fields: Unpack[PaymentOrderCompletedV1]) -> str: ...

    @overload
    def track(self, event_name: Literal["payment:order:completed"], fields: PaymentOrderCompletedV1, /) -> str: ...

    def track(self, event_name: str, fields: Optional[Mapping[str, object]] = None, /, **more: object) -> str:
        return self.client.track(event_name, fields, **more)

    @overload
    async def atrack(self, event_name: Literal["account:created"], /, **fields: Unpack[AccountCreatedV1]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["account:created"], fields: AccountCreatedV1, /) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["client:events:dropped"], /, **fields: Unpack[ClientEventsDroppedV1]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["client:events:dropped"], fields: ClientEventsDroppedV1, /) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["lesson:started"], /, **fields: Unpack[LessonStartedV1]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["lesson:started"], fields: LessonStartedV1, /) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:item:ordered"], /, **fields: Unpack[MenuItemOrderedV1]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:item:ordered"], fields: MenuItemOrderedV1, /) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:item:viewed"], /, **fields: Unpack[MenuItemViewedV1]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:item:viewed"], fields: MenuItemViewedV1, /) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:item:viewed"], /, **fields: Unpack[MenuItemViewedV2]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:item:viewed"], fields: MenuItemViewedV2, /) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:page:opened"], /, **fields: Unpack[MenuPageOpenedV1]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:page:opened"], fields: MenuPageOpenedV1, /) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:section:reached"], /, **fields: Unpack[MenuSectionReachedV1]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:section:reached"], fields: MenuSectionReachedV1, /) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:visit:progress"], /, **fields: Unpack[MenuVisitProgressV1]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["menu:visit:progress"], fields: MenuVisitProgressV1, /) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["payment:order:completed"], /, **fields: Unpack[PaymentOrderCompletedV1]) -> str: ...

    @overload
    async def atrack(self, event_name: Literal["payment:order:completed"], fields: PaymentOrderCompletedV1, /) -> str: ...

    async def atrack(self, event_name: str, fields: Optional[Mapping[str, object]] = None, /, **more: object) -> str:
        return await self.client.atrack(event_name, fields, **more)
