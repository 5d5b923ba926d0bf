"""Draws the story of a seed: a cinema site's programme, and which of its pages are slow. Pure: no clock, no I/O.

Seed 0 has the numbers of the real incident; any other seed draws its own counts and names. Only the site and the fleet
use the story. The checker does not know it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

INCIDENT_SEED = 0
"""The seed of the incident as it happened."""


class Movie(NamedTuple):
    """A film on a page; without ``has_details`` the page has no link to its details."""

    movie_id: int
    title: str
    has_details: bool


class Showtime(NamedTuple):
    """One screening of a film on the page."""

    movie_id: int
    cinema: str
    starts_at: str


@dataclass(frozen=True)
class Page:
    """A page of the programme. A slow one is never answered."""

    slug: str
    is_slow: bool
    movies: tuple[Movie, ...]
    showtimes: tuple[Showtime, ...]


@dataclass(frozen=True)
class Story:
    """Everything that the seed decides. ``announced`` is the number of pages that the programme claims to have."""

    seed: int
    city: str
    source: str
    first_job_id: int
    announced: int
    page_workers: int
    pages: tuple[Page, ...]


class _Counts(NamedTuple):
    completed: int
    held: int
    waiting: int
    unlisted: int  # announced by the programme, but not in its list
    childless: int  # pages that complete without a MovieDetailJob
    details: int
    showtimes: int


_INCIDENT = _Counts(completed=70, held=3, waiting=63, unlisted=0, childless=4, details=115, showtimes=1_111)
_INCIDENT_CITY = "Krakow"
_INCIDENT_JOB_ID = 12_345

_CITIES = ("Gdansk", "Lublin", "Poznan", "Torun", "Wroclaw", "Szczecin", "Opole", "Rzeszow")
_CINEMAS = (
    "Pod Baranami",
    "Kijów",
    "Mikro",
    "Agrafka",
    "Paradox",
    "Sfinks",
    "Kika",
    "Wrzos",
    "Kosmos",
    "Muza",
)
_FIRST = (
    "Cicha",
    "Ostatnia",
    "Biała",
    "Zimna",
    "Druga",
    "Daleka",
    "Czarna",
    "Nocna",
    "Zielona",
    "Krótka",
    "L'autre",
)
_SECOND = (
    "wojna",
    "podróż",
    "rzeka",
    "miłość",
    "droga",
    "granica",
    "ballada",
    "wyspa",
    "kobieta",
    "zima",
    "'68",
)
_SLUGS = ("premiery", "klasyka", "dzieci", "festiwal", "dokument", "maraton", "kino-nocne", "retrospektywa")


def tell(seed: int) -> Story:
    """Return the story of a seed, always the same one."""
    random = Random(f"jobtrail demo {seed}")
    is_incident = seed == INCIDENT_SEED
    counts = _INCIDENT if is_incident else _draw_counts(random)
    city = _INCIDENT_CITY if is_incident else random.choice(_CITIES)
    return Story(
        seed=seed,
        city=city,
        source=f"kino-{city.lower()}",
        first_job_id=_INCIDENT_JOB_ID if is_incident else random.randrange(10_000, 90_000),
        announced=counts.completed + counts.held + counts.waiting + counts.unlisted,
        page_workers=counts.held,
        pages=tuple(_draw_pages(random, counts)),
    )


def _draw_counts(random: Random) -> _Counts:
    completed = random.randint(40, 90)
    return _Counts(
        completed=completed,
        held=random.randint(2, 4),
        waiting=random.randint(20, 80),
        unlisted=random.choice((0, 0, 1, 2, 3)),
        childless=random.randint(0, 6),
        details=completed + random.randint(0, completed),
        showtimes=random.randint(600, 1_400),
    )


def _draw_pages(random: Random, counts: _Counts) -> list[Page]:
    """Draw the pages in the order in which they are taken.

    Each slow page holds one worker for ever, and the last slow page holds the last worker. So exactly the pages before
    it that are not slow complete, no matter which worker takes which page.
    """
    before = counts.completed + counts.held
    slow = {*random.sample(range(before // 3, before - 1), counts.held - 1), before - 1}
    completing = [at for at in range(before) if at not in slow]
    childless = set(random.sample(completing, counts.childless))
    with_children = [at for at in completing if at not in childless]
    films = dict(zip(with_children, _split(random, counts.details, len(with_children)), strict=True))
    screenings = dict(zip(completing, _split(random, counts.showtimes, len(completing)), strict=True))
    number = before + counts.waiting
    movie_ids = iter(random.sample(range(1_000, 99_999), counts.details + number))
    pages = []
    for at in range(number):
        movies = tuple(
            Movie(next(movie_ids), f"{random.choice(_FIRST)} {random.choice(_SECOND)}", at not in childless)
            for _ in range(films.get(at, 1))
        )
        pages.append(
            Page(
                slug=f"{random.choice(_SLUGS)}-{at + 1}",
                is_slow=at in slow,
                movies=movies,
                showtimes=tuple(_draw_showtime(random, movies) for _ in range(screenings.get(at, 8))),
            )
        )
    return pages


def _draw_showtime(random: Random, movies: Sequence[Movie]) -> Showtime:
    day, hour, minute = random.randint(23, 29), random.randint(10, 22), random.choice((0, 15, 30, 45))
    return Showtime(
        random.choice(movies).movie_id, random.choice(_CINEMAS), f"2026-11-{day} {hour:02}:{minute:02}"
    )


def _split(random: Random, whole: int, parts: int) -> list[int]:
    """Split a number at random into parts of at least 1."""
    cuts = sorted(random.sample(range(1, whole), parts - 1))
    return [end - start for start, end in zip([0, *cuts], [*cuts, whole], strict=True)]
