"""What the page says, in Portuguese and in English: words, numbers, days, and names made of ids."""

import datetime
import re

WEEKDAYS = {
    "en": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    "pt": ["seg.", "ter.", "qua.", "qui.", "sex.", "sáb.", "dom."],
}
MONTHS = {
    "en": ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
    "pt": ["jan.", "fev.", "mar.", "abr.", "mai.", "jun.", "jul.", "ago.", "set.", "out.", "nov.", "dez."],
}
# In a name these stay small: Tasca do Lago.
SMALL = {"a", "o", "e", "da", "de", "do", "das", "dos", "em", "na", "no", "of", "the", "and", "at", "in"}

TEXTS = {
    "en": {
        "title": "Insights",
        "skip": "Skip to the answers",
        "menus": "Menus",
        "menu": "Menu: {menu}",
        "period": "Period",
        "last_days": "Last {n} days",
        "covered": "{first} to {last}",
        "covered_day": "{first}",
        "held": "The data covers {first} to {last}.",
        "unfinished": "The last day is not over yet.",
        "drawn": "Drawn on {date}, {time} UTC. Days and hours are those of the visitors' own clocks. A visit is one opening of the menu, and counts on the day and in the hour in which it began.",
        "menus_shown": "The {shown} menus with the most visits, of {n}. Choose another with --restaurant and --menu.",
        "compared": "Compared with {first} to {last}: the same weekdays.",
        "compared_day": "Compared with {first}: the same weekday.",
        "not_compared": "No comparison: the same weekdays before ({first} to {last}) are not covered by the data, which begins on {begin}.",
        "before": "before",
        "before_was": "before: {value}",
        "no_before": "no comparison",
        "mark": "The mark in a bar is the period before.",
        "top": "Top {shown} of {n}.",
        "as_table": "All numbers as a table",
        "visits": "Visits",
        "visit_n": ("{n} visit", "{n} visits"),
        "n_of": "{part} of {n}",
        "n_of_visits": ("{part} of {n} visit", "{part} of {n} visits"),
        "orders": "Orders",
        "order_n": ("{n} order", "{n} orders"),
        "portions": ("{n} portion", "{n} portions"),
        "ordering": "Visits that ordered",
        "stop_appetizers": "Stop after “{name}”",
        "by_day": "Visits by day",
        "by_day_line": "How often the menu was opened, each day.",
        "by_hour": "Visits and orders by hour",
        "by_hour_line": "By the hour in which the menu was opened.",
        "by_week": "Weekdays and hours",
        "by_week_line": "Visits by weekday and hour; a stronger colour is more, at most {most}.",
        "viewed": "Most viewed dishes",
        "viewed_line": "Share of the {n} that saw the dish for a second or more.",
        "time": "Time per dish",
        "time_line": "Median seconds in view: half of the visits that came past the dish looked longer, half shorter.",
        "down": "How far down people get",
        "down_line": "Share of the {n} that reached a section.",
        "stops": "Where visits stop",
        "stops_line": "The furthest section, of the {n} that reached any.",
        "convert": "From view to order",
        "convert_line": "Of the visits that saw a dish, those that ordered it. Dishes seen in fewer than {few} visits come last.",
        "day": "Day", "hour": "Hour", "dish": "Dish", "section": "Section", "share": "Share", "of": "of",
        "median": "Median (s)", "weekday": "Weekday", "quantity": "Portions", "views": "Views",
        "nothing": "Nothing of this kind happened in this period.",
        "nobody": "Nobody opened this menu from {first} to {last}. Its last visit was on {last_visit}.",
        "nobody_do": "Choose another period: make insights DAYS=28, or FROM=2026-11-01 TO=2026-11-30.",
        "seconds": "{n} s",
    },
    "pt": {
        "title": "A sua ementa",
        "skip": "Saltar para as respostas",
        "menus": "Ementas",
        "menu": "Ementa: {menu}",
        "period": "Período",
        "last_days": "Últimos {n} dias",
        "covered": "{first} a {last}",
        "covered_day": "{first}",
        "held": "Os dados vão de {first} a {last}.",
        "unfinished": "O último dia ainda não acabou.",
        "drawn": "Feito em {date}, {time} UTC. Os dias e as horas são os dos relógios dos visitantes. Uma visita é uma abertura da ementa, e conta no dia e na hora em que começou.",
        "menus_shown": "As {shown} ementas com mais visitas, de {n}. Escolha outra com --restaurant e --menu.",
        "compared": "Comparado com {first} a {last}: os mesmos dias da semana.",
        "compared_day": "Comparado com {first}: o mesmo dia da semana.",
        "not_compared": "Sem comparação: os mesmos dias da semana antes ({first} a {last}) não estão nos dados, que começam em {begin}.",
        "before": "antes",
        "before_was": "antes: {value}",
        "no_before": "sem comparação",
        "mark": "O traço numa barra é o período anterior.",
        "top": "Os primeiros {shown} de {n}.",
        "as_table": "Todos os números em tabela",
        "visits": "Visitas",
        "visit_n": ("{n} visita", "{n} visitas"),
        "n_of": "{part} de {n}",
        "n_of_visits": ("{part} de {n} visita", "{part} de {n} visitas"),
        "orders": "Pedidos",
        "order_n": ("{n} pedido", "{n} pedidos"),
        "portions": ("{n} dose", "{n} doses"),
        "ordering": "Visitas com pedido",
        "stop_appetizers": "Param depois de “{name}”",
        "by_day": "Visitas por dia",
        "by_day_line": "Quantas vezes a ementa foi aberta, em cada dia.",
        "by_hour": "Visitas e pedidos por hora",
        "by_hour_line": "Pela hora em que a ementa foi aberta.",
        "by_week": "Dias da semana e horas",
        "by_week_line": "Visitas por dia da semana e hora; cor mais forte é mais, no máximo {most}.",
        "viewed": "Pratos mais vistos",
        "viewed_line": "De {n}, a parte que viu o prato pelo menos um segundo.",
        "time": "Tempo por prato",
        "time_line": "Mediana dos segundos à vista: metade das visitas que passaram pelo prato olhou mais tempo, metade menos.",
        "down": "Até onde se lê",
        "down_line": "De {n}, a parte que chegou a cada secção.",
        "stops": "Onde as visitas param",
        "stops_line": "A secção mais funda, de {n} que chegaram a alguma.",
        "convert": "Da vista ao pedido",
        "convert_line": "Das visitas que viram um prato, as que o pediram. Os pratos vistos em menos de {few} visitas vêm no fim.",
        "day": "Dia", "hour": "Hora", "dish": "Prato", "section": "Secção", "share": "Parte", "of": "de",
        "median": "Mediana (s)", "weekday": "Dia da semana", "quantity": "Doses", "views": "Vistas",
        "nothing": "Neste período não houve nada disto.",
        "nobody": "Ninguém abriu esta ementa de {first} a {last}. A última visita foi em {last_visit}.",
        "nobody_do": "Escolha outro período: make insights DAYS=28, ou FROM=2026-11-01 TO=2026-11-30.",
        "seconds": "{n} s",
    },
}


class Words:
    """One language."""

    def __init__(self, language: str):
        self.language = language
        self.texts = TEXTS[language]

    def say(self, key: str, **values) -> str:
        return self.texts[key].format(**values)

    def count(self, key: str, n: int, **values) -> str:
        """A number with its noun, in the singular or the plural."""
        one, many = self.texts[key]
        return (one if n == 1 else many).format(n=self.number(n), **values)

    def number(self, value: float, digits: int = 0) -> str:
        """1,234.5 in English, 1234,5 and 12 345,6 in Portuguese."""
        text = f"{value:,.{digits}f}"
        if self.language == "en":
            return text
        if abs(value) < 10_000:
            text = text.replace(",", "")
        return text.replace(",", "\N{NO-BREAK SPACE}").replace(".", ",")

    def percent(self, part: int, whole: int) -> str:
        """A share, with a digit behind the point below 10."""
        share = 100 * part / whole if whole else 0
        return f"{self.number(share, 0 if share >= 10 or share == 0 else 1)}%"

    def day(self, day: datetime.date, year: bool = False) -> str:
        text = f"{WEEKDAYS[self.language][day.weekday()]} {day.day} {MONTHS[self.language][day.month - 1]}"
        return f"{text} {day.year}" if year else text

    def short_day(self, day: datetime.date) -> str:
        return f"{day.day} {MONTHS[self.language][day.month - 1]}"

    def weekday(self, number: int) -> str:
        return WEEKDAYS[self.language][number]


def name_of(slug: str) -> str:
    """A readable form of an id, where the events carry no name: `quinta.norte` is Quinta Norte."""
    words = [word for word in re.split(r"[\s._:/-]+", slug) if word]
    # A code such as an UUID or `r17` says nothing more when it is taken apart.
    if not words or re.fullmatch(r"[0-9a-fA-F-]{32,36}", slug):
        return slug
    return " ".join(word if place and word in SMALL else word[:1].upper() + word[1:] for place, word in enumerate(words))
