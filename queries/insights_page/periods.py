"""Which days the page is about, and with which it compares them."""

import datetime
from dataclasses import dataclass

DAY = datetime.timedelta(days=1)
# What is offered, as far as the data goes back.
LENGTHS = (7, 28, 90)


@dataclass(frozen=True)
class Period:
    """Days from `first` to `last`, both inclusive."""

    first: datetime.date
    last: datetime.date
    # Asked for as so many days up to the last; else as two dates.
    is_latest: bool = True

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> "Period":
        """As many days, whole weeks earlier, so that a Friday is compared with a Friday; never with days of this period."""
        shift = -(-self.days // 7) * 7 * DAY
        return Period(self.first - shift, self.last - shift, self.is_latest)

    def all_days(self) -> list[datetime.date]:
        return [self.first + number * DAY for number in range(self.days)]


def choose(
    begin: datetime.date, end: datetime.date, first: datetime.date | None, last: datetime.date | None, days: int | None
) -> list[Period]:
    """The periods of the page, where there is data from `begin` to `end`: those that were asked for, else 7, 28 and 90 days."""
    last = last or (first + (days - 1) * DAY if first and days else max(end, first or end))
    if first:
        return [Period(first, last, False)]
    if days:
        return [Period(last - (days - 1) * DAY, last)]
    have = (last - begin).days + 1
    lengths = [length for place, length in enumerate(LENGTHS) if place == 0 or have > LENGTHS[place - 1]]
    return [Period(last - (length - 1) * DAY, last) for length in lengths]
