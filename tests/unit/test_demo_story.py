"""The story of a seed, and the answers that the checker expects from the workers' tallies."""

from contextlib import closing
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from demo import expectations
from demo.checker import compare, differences
from demo.story import INCIDENT_SEED, Page, Story, tell
from demo.tally import TalliedJob, Tally, read
from testing.examples import examples


def completing(story: Story) -> list[Page]:
    """Return the pages that complete: those before the last slow page, which holds the last worker."""
    last_slow = max(at for at, page in enumerate(story.pages) if page.is_slow)
    return [page for page in story.pages[:last_slow] if not page.is_slow]


def test_the_incident_has_its_own_numbers() -> None:
    story = tell(INCIDENT_SEED)
    pages = completing(story)
    slow = sum(page.is_slow for page in story.pages)
    assert (story.first_job_id, story.announced, len(story.pages)) == (12_345, 136, 136)
    assert (len(pages), slow, len(story.pages) - len(pages) - slow) == (70, 3, 63)
    assert sum(movie.has_details for page in pages for movie in page.movies) == 115
    assert sum(len(page.showtimes) for page in pages) == 1_111


@given(st.integers(0, 10**9))
@settings(max_examples=examples(200), deadline=None)
def test_every_seed_gives_a_story_that_can_be_played(seed: int) -> None:
    story = tell(seed)
    assert story == tell(seed), "a seed gives one story"
    assert sum(page.is_slow for page in story.pages) == story.page_workers, "each worker has a slow page"
    assert story.announced >= len(story.pages)
    assert len({page.slug for page in story.pages}) == len(story.pages)
    movies = [movie.movie_id for page in story.pages for movie in page.movies]
    assert len(set(movies)) == len(movies)
    for page in story.pages:
        assert page.showtimes
        assert {showtime.movie_id for showtime in page.showtimes} <= {movie.movie_id for movie in page.movies}


def test_seeds_differ_in_counts_and_names() -> None:
    stories = [tell(seed) for seed in range(1, 30)]
    assert len({len(completing(story)) for story in stories}) > 10
    assert len({story.city for story in stories}) > 3
    assert len({story.first_job_id for story in stories}) == len(stories)


def job(job_id: str, worker: str, parent: str, state: str) -> TalliedJob:
    error = ("movie_not_ready", "NotReady") if state == "discarded" else ("", "")
    return TalliedJob(job_id, worker, parent, "", state, *error)


def small_run() -> dict[str, TalliedJob]:
    """Return a sync that announced three pages and spawned two, one without details."""
    jobs = [
        TalliedJob("1", "Sync", state="completed", expected={"Page": 3}),
        job("2", "Page", "1", "completed"),
        job("3", "Page", "1", "completed"),
        job("4", "Detail", "2", "available"),
        job("5", "Showtime", "2", "discarded"),
        job("6", "Showtime", "3", "discarded"),
    ]
    return {one.job_id: one for one in jobs}


def test_expectations_follow_from_what_the_workers_wrote() -> None:
    jobs = small_run()
    assert expectations.stages(jobs)[2, "Showtime"] == {"discarded": 2}
    assert expectations.announced(jobs) == {(1, "Page"): 3}
    assert expectations.missing(jobs) == {("1", "Page"): (3, 2)}
    assert expectations.childless(jobs) == {("Page", "Detail"): frozenset({"3"})}
    assert expectations.stuck(jobs) == {(2, "Detail")}
    assert [(group.category, group.jobs) for group in expectations.groups(jobs)] == [("movie_not_ready", 2)]
    assert expectations.run(jobs) == {
        "total": 6,
        "completed": 3,
        "discarded": 2,
        "waiting": 1,
        "executing": 0,
    }


def test_a_tally_combines_the_files_of_all_processes(tmp_path: Path) -> None:
    """The later state wins in any order of the files; a half-written line is ignored."""
    spawner, worker = Tally(tmp_path, "z-spawner"), Tally(tmp_path, "a-worker")
    with closing(spawner), closing(worker):
        spawner.record(7, "Page", state="available", parent="1", external_id="page:7")
        worker.record(7, "Page", state="executing")
        worker.record(7, "Page", state="discarded", category="page_broken", error_type="Broken")
    with (tmp_path / "a-worker.jsonl").open("a") as file:
        file.write('{"job_id": "8", "worker": "Pa')
    (found,) = read(tmp_path).values()
    assert (found.worker, found.state, found.parent, found.external_id) == (
        "Page",
        "discarded",
        "1",
        "page:7",
    )
    assert (found.category, found.error_type) == ("page_broken", "Broken")


def test_differences_name_the_entries_that_differ() -> None:
    lines = differences({"a": 1, "b": 2}, {"a": 1, "b": 3})
    assert lines == ["b: the workers say 2, jobtrail says 3"]
    many = differences(dict.fromkeys(range(50), 1), {})
    assert many[-1] == "… and 40 more"


def test_an_answer_that_lacks_a_stage_is_a_difference() -> None:
    """The first comparison is of the stages; an empty answer must fail it."""
    first = next(compare(small_run(), lambda *words: {"stages": []}))
    assert first.expected != first.got
