"""Pages for who has nothing to see yet: what is missing, and what to do."""

from insights_page.draw import text
from insights_page.page import frame

TEXTS = {
    "en": {
        "title": "Nothing to show yet",
        "no_lake": "There is no lake in {lake}.",
        "no_events": "The lake in {lake} has no events yet.",
        "no_menu_events": "The lake in {lake} has events, but none of a menu.",
        "no_visits": "The lake in {lake} has events of menus, but no visit: no event menu:page:opened{of}.",
        "of": " of the restaurant and menu that you chose",
        "try": "To try it out, a menu with 500 visits that are made up:",
        "own": "For your own menu, add the script to its page: docs/frontend.md shows how.",
        "other": "Is the lake in another folder? Name it:",
        "wait": "A gateway that runs writes new events after 5 s with make run, after a minute by default.",
        "registry": "Events of menus are those of schemas/CATALOGUE.md that begin with menu:.",
    },
    "pt": {
        "title": "Ainda não há nada para mostrar",
        "no_lake": "Não há um lake em {lake}.",
        "no_events": "O lake em {lake} ainda não tem eventos.",
        "no_menu_events": "O lake em {lake} tem eventos, mas nenhum de uma ementa.",
        "no_visits": "O lake em {lake} tem eventos de ementas, mas nenhuma visita: nenhum evento menu:page:opened{of}.",
        "of": " do restaurante e da ementa que escolheu",
        "try": "Para experimentar, uma ementa com 500 visitas inventadas:",
        "own": "Para a sua ementa, ponha o script na página: docs/frontend.md mostra como.",
        "other": "O lake está noutra pasta? Diga qual:",
        "wait": "Um gateway em marcha escreve os eventos novos passados 5 s com make run, ou um minuto por defeito.",
        "registry": "Os eventos de ementas são os de schemas/CATALOGUE.md que começam por menu:.",
    },
}
# What helps in each case: sentences, and commands.
STEPS = {
    "no_lake": ["try", "$ make demo GUESTS=500", "own", "other", "$ make insights LAKE=/srv/lakegate/lake"],
    "no_events": ["wait", "try", "$ make demo GUESTS=500", "own"],
    "no_menu_events": ["registry", "own", "try", "$ make demo GUESTS=500"],
    "no_visits": ["own", "registry", "try", "$ make demo GUESTS=500"],
}


def said(case: str, language: str, lake, of_menu: bool = False) -> str:
    texts = TEXTS[language]
    return texts[case].format(lake=lake, of=texts["of"] if of_menu else "")


def as_text(case: str, language: str, lake, of_menu: bool = False) -> str:
    """For the terminal."""
    texts = TEXTS[language]
    lines = [f"  {step}" if step.startswith("$ ") else texts[step] for step in STEPS[case]]
    return "\n".join([said(case, language, lake, of_menu), *lines])


def as_page(case: str, language: str, lake, of_menu: bool = False, is_watched: bool = False) -> str:
    texts = TEXTS[language]
    steps = "".join(f"<code>{text(step[2:])}</code>" if step.startswith("$ ") else f"<p>{text(texts[step])}</p>" for step in STEPS[case])
    body = f'<main><header><h1>{text(texts["title"])}</h1></header><section class="empty"><p><b>{text(said(case, language, lake, of_menu))}</b></p>{steps}</section></main>'
    return frame(language, texts["title"], body, is_watched)
