"""Fountain: a script goes in, a board with a card for each piece of action comes out."""

import re

from vjserver.keeping.boards import MOST_CARDS, Boards
from vjserver.keeping.cards import MOST_NOTES, Board, Card
from vjserver.show.addresses import MAX_TEXT
from vjserver.types.errors import ConfigError, VJError
from vjserver.types.text import clean

LARGEST = 4 << 20
DOCUMENTS = "pip install 'vjserver[documents]'"
_MARKS = re.compile(r"\[\[\d+\]\]|[*_]")
_BONEYARD = re.compile(r"/\*.*?(\*/|\Z)", re.DOTALL)


def board_of_script(boards: Boards, text: str, name: str = "") -> Board:
    """Make a board of a script in Fountain. Raises ConfigError for one without action.

    An action is a card; its heading, and who speaks behind it, stand in its notes.
    """
    try:
        from screenplay_tools.fountain.parser import Parser
        from screenplay_tools.screenplay import ElementType
    except ImportError:
        raise ConfigError(f"scripts need screenplay-tools: {DOCUMENTS}") from None
    if len(text) > LARGEST:
        raise ConfigError(f"a script has at most {LARGEST >> 20} million signs: got {len(text)}")
    parser = Parser()
    parser.mergeActions = False
    parser.add_text(_BONEYARD.sub("", clean(text).replace("\r\n", "\n").lstrip("\ufeff")))
    cards: list[Card] = []
    place, who = "", ""
    for element in parser.script.elements:
        words = " ".join(_MARKS.sub("", getattr(element, "text", "") or "").split())
        if element.type == ElementType.HEADING:
            place = words
        elif element.type == ElementType.ACTION and words:
            more = f"\n{words[MAX_TEXT:]}" if len(words) > MAX_TEXT else ""
            cards.append(Card(text=words[:MAX_TEXT], notes=f"{place}{more}"[:MOST_NOTES], heard="made"))
        elif element.type == ElementType.CHARACTER:
            who = str(element.name)
        elif element.type in (ElementType.DIALOGUE, ElementType.PARENTHETICAL) and words:
            spoken = f"{who}: {words}" if element.type == ElementType.DIALOGUE else f"{who} ({words})"
            if not cards or cards[-1].notes.split("\n")[0] != place:  # nobody does anything, and somebody speaks
                cards.append(Card(text=place[:MAX_TEXT] or spoken[:MAX_TEXT], notes=place, heard="made"))
            cards[-1] = Card(text=cards[-1].text, notes=f"{cards[-1].notes}\n{spoken}"[:MOST_NOTES], heard="made")
    if not cards:
        raise ConfigError("there is no action in this script: it is none, or it is not in Fountain")
    if len(cards) > MOST_CARDS:
        raise ConfigError(f"this script has {len(cards)} pieces of action: a board has at most {MOST_CARDS} cards")
    titles = [entry.text for entry in parser.script.titleEntries if str(entry.key).lower() == "title"]
    title = " ".join(_MARKS.sub("", titles[0]).split()) if titles else ""
    board = boards.make((title or name or "script")[:100])
    try:
        for card in cards:
            boards.add(board.id, card)
    except VJError:
        boards.delete_board(board.id)
        raise
    return boards.board(board.id)
